// Draw polygons and lines on the picture, get TOML; corners are fractions of the frame.
const STEP = 0.01;

export class Zones {
  constructor(picture, parts) {
    Object.assign(this, { picture, parts, shapes: [], open: null, cross: [0.5, 0.5] });
    picture.overlay = (context, canvas) => this.draw(context, canvas);
    parts.zone.addEventListener("click", () => this.begin("zone"));
    parts.line.addEventListener("click", () => this.begin("line"));
    parts.done.addEventListener("click", () => this.finish());
    parts.undo.addEventListener("click", () => this.undo());
    parts.clear.addEventListener("click", () => { this.shapes = []; this.open = null; this.update(); });
    parts.copy.addEventListener("click", () => this.copy());
    picture.canvas.addEventListener("click", (event) => {
      const area = picture.canvas.getBoundingClientRect();
      this.add([(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height]);
    });
    picture.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  begin(kind) {
    this.finish();
    const number = this.shapes.filter((shape) => shape.kind === kind).length + 1;
    this.open = { kind, name: `${kind}_${number}`, points: [] };
    this.picture.canvas.focus();
    this.update();
  }

  add(point) {
    if (!this.open) return;
    this.open.points.push(point.map((value) => Math.min(1, Math.max(0, Number(value.toFixed(3))))));
    if (this.open.kind === "line" && this.open.points.length === 2) this.finish();
    this.update();
  }

  finish() {
    if (this.open && this.open.points.length >= (this.open.kind === "line" ? 2 : 3)) this.shapes.push(this.open);
    this.open = null;
    this.update();
  }

  undo() {
    if (this.open) this.open.points.pop();
    this.update();
  }

  key(event) {
    if (!this.open) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (move) {
      const step = event.shiftKey ? 10 * STEP : STEP;
      this.cross = this.cross.map((value, axis) => Math.min(1, Math.max(0, value + move[axis] * step)));
    } else if (event.key === "Enter") this.add(this.cross);
    else if (event.key === "Escape") this.finish();
    else if (event.key === "Backspace") this.undo();
    else return;
    event.preventDefault();
    this.update();
  }

  update() {
    const { parts } = this;
    parts.done.disabled = parts.undo.disabled = !this.open;
    parts.zone.setAttribute("aria-pressed", this.open?.kind === "zone");
    parts.line.setAttribute("aria-pressed", this.open?.kind === "line");
    parts.text.value = this.shapes.map((shape) => {
      const points = shape.points.map(([x, y]) => `[${x.toFixed(3)}, ${y.toFixed(3)}]`);
      const where = shape.kind === "line" ? `start = ${points[0]}\nend = ${points[1]}` : `polygon = [${points.join(", ")}]`;
      return `[[${shape.kind}]]\nname = "${shape.name}"\n${where}\n`;
    }).join("\n");
    this.picture.redraw();
  }

  async copy() {
    this.parts.text.select();
    // Only a page of this machine or over TLS may write to the clipboard; the text is selected.
    if (navigator.clipboard) await navigator.clipboard.writeText(this.parts.text.value);
  }

  draw(context, canvas) {
    const at = ([x, y]) => [x * canvas.width, y * canvas.height];
    for (const shape of this.open ? [...this.shapes, this.open] : this.shapes) {
      context.lineWidth = 2;
      context.strokeStyle = "#ff4fd8";
      context.fillStyle = "rgb(255 79 216 / 20%)";
      context.beginPath();
      shape.points.map(at).forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
      if (shape.kind === "zone" && shape !== this.open) context.closePath();
      if (shape.kind === "zone") context.fill();
      context.stroke();
      if (shape.points.length) this.picture.text(shape.name, ...at(shape.points[0]));
    }
    if (!this.open) return;
    const [x, y] = at(this.cross);
    context.strokeStyle = "#ff4fd8";
    context.strokeRect(x - 8, y, 16, 0.5);
    context.strokeRect(x, y - 8, 0.5, 16);
  }
}
