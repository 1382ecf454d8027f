// A line over the last ten minutes; a gap where nothing is known.
const SPAN_S = 600;

export class Plot {
  constructor(canvas, output, digits) {
    Object.assign(this, { canvas, output, digits, points: [] });
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  reset(points) {
    this.points = points;
    this.cut();
  }

  add(time, value) {
    this.points.push([time, value]);
    this.cut();
  }

  // Where the camera's clock was put back, what it dated later goes as well.
  cut() {
    const end = this.points.length ? this.points[this.points.length - 1][0] : 0;
    this.points = this.points.filter(([time]) => time <= end && time >= end - SPAN_S);
    this.draw();
  }

  draw() {
    const { canvas, points } = this;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    canvas.dataset.points = points.length;
    const known = points.filter(([, value]) => value !== null);
    // A board without a thermometer has no plot of it.
    if (points.length) canvas.closest("figure").hidden = !known.length;
    const last = points.length ? points[points.length - 1][1] : null;
    this.output.textContent = last === null ? "–" : last.toFixed(this.digits);
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    context.strokeStyle = style.getPropertyValue("--edge");
    context.lineWidth = ratio;
    context.strokeRect(0, 0, canvas.width, canvas.height);
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.fillStyle = style.getPropertyValue("--soft");
    if (!known.length) {
      context.fillText("not known here", 4 * ratio, 13 * ratio);
      return;
    }
    const top = Math.max(...known.map(([, value]) => value)) * 1.1 || 1;
    const end = points[points.length - 1][0];
    const x = (time) => canvas.width * (1 - (end - time) / SPAN_S);
    const y = (value) => canvas.height - 1 - (canvas.height - 2) * (value / top);
    context.strokeStyle = style.getPropertyValue("--line");
    context.lineWidth = 2 * ratio;
    context.beginPath();
    let drawing = false;
    for (const [time, value] of points) {
      if (value === null) drawing = false;
      else if (drawing) context.lineTo(x(time), y(value));
      else {
        context.moveTo(x(time), y(value));
        drawing = true;
      }
    }
    context.stroke();
    context.fillText(top < 10 ? top.toPrecision(2) : Math.round(top), 4 * ratio, 13 * ratio);
  }
}
