// Places words beside what they name: none covers another or leaves the picture.
const FONT_PX = 14;
const LINE_PX = 17;
const EDGE_PX = 2;

const covers = (one, other) =>
  one.x < other.x + other.width && other.x < one.x + one.width && one.y < other.y + other.height && other.y < one.y + one.height;

export class Labels {
  // enlarged: how much larger the canvas is than it is shown.
  constructor(context, enlarged) {
    Object.assign(this, { context, enlarged, labels: [] });
  }

  // box: [left, top, right, bottom] of what is named, pixels of the canvas.
  add(words, box) {
    this.labels.push({ words, box });
  }

  // Above it, below it, beside it, inside it; else in the nearest free row.
  places([left, top, right, bottom], width, height) {
    const near = [
      [left, top - height], [right - width, top - height], [left, bottom], [right - width, bottom],
      [right, top], [left - width, top], [right, bottom - height], [left - width, bottom - height], [left, top],
    ];
    const rows = Math.ceil(this.context.canvas.height / height);
    for (let row = 1; row < rows; row += 1) near.push([left, top - (row + 1) * height], [left, bottom + row * height]);
    return near;
  }

  place({ words, box }, taken) {
    const { canvas } = this.context;
    const edge = EDGE_PX * this.enlarged;
    const width = this.context.measureText(words).width + 2 * edge;
    const height = LINE_PX * this.enlarged;
    const within = (value, most) => Math.max(0, Math.min(value, most));
    for (const [x, y] of this.places(box, width, height)) {
      const area = { x: within(x, canvas.width - width), y: within(y, canvas.height - height), width, height };
      if (!taken.some((other) => covers(area, other))) return area;
    }
    return null;
  }

  draw() {
    const { context, enlarged } = this;
    const taken = [];
    context.font = `${FONT_PX * enlarged}px system-ui, sans-serif`;
    context.lineWidth = 3 * enlarged;
    context.lineJoin = "round";
    context.strokeStyle = "#000";
    context.fillStyle = "#fff";
    for (const label of this.labels) {
      const area = this.place(label, taken);
      // A picture full of words has no room for more.
      if (!area) continue;
      taken.push(area);
      const [left, base] = [area.x + EDGE_PX * enlarged, area.y + FONT_PX * enlarged];
      context.strokeText(label.words, left, base);
      context.fillText(label.words, left, base);
    }
  }
}
