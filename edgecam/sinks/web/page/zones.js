// Zones, masks and lines over the picture, and the editor that writes their TOML. Corners are
// fractions of the frame.
import { ask } from "/ask.js";
import { of } from "/cameras.js";

const STEP = 0.01;
const CHECK_AFTER_MS = 300;
const SETTLED_AFTER_MS = 20000;
const KINDS = ["zone", "line", "mask"];
const COLOURS = { zone: "255 79 216", line: "79 216 255", mask: "200 200 200" };

// A TOML string may hold no DEL, which JSON leaves as it is.
const quoted = (text) => JSON.stringify(text).replaceAll("\x7f", "\\u007f");
const value = (what) => {
  if (Array.isArray(what)) return `[${what.map(value).join(", ")}]`;
  return typeof what === "string" ? quoted(what) : String(what);
};

// What is configured: kind, name, points, and every other key as it stands in the file.
function shape(kind, settings) {
  const { name, polygon, start, end, ...rest } = settings;
  return { kind, name, points: polygon ?? [start, end], rest };
}

function toml({ kind, name, points, rest }) {
  const where = kind === "line" ? { start: points[0], end: points[1] } : { polygon: points };
  const keys = Object.entries({ name, ...where, ...rest });
  return `[[${kind}]]\n${keys.map(([key, what]) => `${key} = ${value(what)}\n`).join("")}`;
}

export class Zones {
  constructor(picture, parts) {
    Object.assign(this, { picture, parts, configured: [], open: null, cross: [0.5, 0.5], counts: {}, scene: null, may: false, waiting: "" });
    this.shapes = this.configured;
    picture.underlay = (context, canvas) => this.draw(context, canvas);
    for (const kind of KINDS) parts[kind].addEventListener("click", () => this.begin(kind));
    parts.done.addEventListener("click", () => this.finish());
    parts.undo.addEventListener("click", () => this.undo());
    parts.cancel.addEventListener("click", () => this.cancel());
    parts.reset.addEventListener("click", () => this.change(this.configured));
    parts.copy.addEventListener("click", () => this.copy());
    parts.save.addEventListener("click", () => this.keep("/zones/save", "Saved"));
    parts.unsave.addEventListener("click", () => this.keep("/zones/undo", "Undone"));
    picture.canvas.addEventListener("click", (event) => {
      const area = picture.canvas.getBoundingClientRect();
      this.add([(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height]);
    });
    picture.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  // What runs now; it is what the editor begins with, unless the viewer is drawing.
  configure(scene) {
    const untouched = this.shapes === this.configured && !this.open;
    this.configured = KINDS.flatMap((kind) => scene[kind].map((settings) => shape(kind, settings)));
    const text = (shapes) => KINDS.flatMap((kind) => shapes.filter((each) => each.kind === kind).map(toml)).join("\n");
    const saved = this.waiting || text(this.shapes) === text(this.configured);
    this.scene = scene;
    this.settle(`${this.waiting}: this is what runs now.`);
    if (untouched || (saved && !this.open)) this.change(this.configured);
    else this.write();
  }

  // Whether the page may save what is drawn.
  allow(may) {
    this.parts.saving.hidden = !may;
    this.parts.how.textContent = may
      ? "Then save it: the camera begins again with it. Or copy the text into the configuration file."
      : "Then copy the text into the configuration file.";
    this.may = may;
    this.write();
  }

  // Has edgecam keep what is drawn, or go back to what it kept before; the new scene then comes by itself.
  async keep(path, done) {
    const { save, unsave, saved, text } = this.parts;
    save.disabled = unsave.disabled = true;
    this.waiting = done;
    saved.textContent = "The camera begins again …";
    const answer = await ask(of(path), path.endsWith("undo") ? "" : text.value);
    // A camera that begins again shows its scene; one that need not shows none.
    if (answer.ok) setTimeout(() => this.settle(`${done}.`), SETTLED_AFTER_MS);
    else this.settle(answer.why);
  }

  settle(words) {
    if (!this.waiting) return;
    this.waiting = "";
    this.parts.saved.textContent = words;
    this.write();
  }

  change(shapes) {
    this.shapes = shapes;
    this.parts.list.replaceChildren(...shapes.map((each) => this.row(each)));
    this.write();
  }

  row(each) {
    const item = document.createElement("li");
    const label = document.createElement("label");
    const name = Object.assign(document.createElement("input"), { value: each.name, maxLength: 64, spellcheck: false });
    name.addEventListener("input", () => {
      // What is configured stays as it is: a change is made on a copy.
      const renamed = { ...each, name: name.value };
      this.shapes = this.shapes.map((other) => (other === each ? renamed : other));
      each = renamed;
      remove.setAttribute("aria-label", `Delete ${each.kind} ${each.name}`);
      this.write();
    });
    label.append(`${each.kind} `, name);
    const remove = Object.assign(document.createElement("button"), { textContent: "Delete" });
    remove.setAttribute("aria-label", `Delete ${each.kind} ${each.name}`);
    remove.addEventListener("click", () => {
      this.change(this.shapes.filter((other) => other !== each));
      this.parts.zone.focus();
    });
    item.append(label, remove);
    return item;
  }

  begin(kind) {
    const taken = new Set(this.shapes.filter((other) => other.kind === kind).map((other) => other.name));
    let number = 1;
    while (taken.has(`${kind}_${number}`)) number += 1;
    this.open = { kind, name: `${kind}_${number}`, points: [], rest: {} };
    this.picture.canvas.focus();
    this.update();
  }

  add(point) {
    if (!this.open) return;
    this.open.points.push(point.map((where) => Math.min(1, Math.max(0, Number(where.toFixed(3))))));
    if (this.open.kind === "line" && this.open.points.length === 2) this.finish();
    this.update();
  }

  complete() {
    return this.open && this.open.points.length >= (this.open.kind === "line" ? 2 : 3);
  }

  finish() {
    if (!this.complete()) return;
    const made = this.open;
    this.open = null;
    this.change([...this.shapes, made]);
    this.update();
    this.parts.list.lastChild.scrollIntoView({ block: "nearest" });
  }

  cancel() {
    this.open = null;
    this.update();
  }

  undo() {
    this.open?.points.pop();
    this.update();
  }

  key(event) {
    if (!this.open) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (move) {
      const step = event.shiftKey ? 10 * STEP : STEP;
      this.cross = this.cross.map((where, axis) => Math.min(1, Math.max(0, where + move[axis] * step)));
    } else if (event.key === "Enter") this.add(this.cross);
    else if (event.key === "Escape") this.complete() ? this.finish() : this.cancel();
    else if (event.key === "Backspace") this.undo();
    else return;
    event.preventDefault();
    this.update();
  }

  update() {
    const { parts, open } = this;
    parts.bar.hidden = !open;
    parts.done.disabled = !this.complete();
    parts.undo.disabled = !open?.points.length;
    const corners = open?.points.length === 1 ? "1 corner" : `${open?.points.length} corners`;
    const cross = this.cross.map((where) => `${Math.round(where * 100)} %`).join(", ");
    parts.what.textContent = open ? `${open.name}: ${corners}; cross at ${cross}` : "";
    this.picture.redraw();
  }

  write() {
    const { parts } = this;
    parts.text.value = this.shapes.map(toml).join("\n");
    parts.copied.textContent = "";
    parts.reset.disabled = this.shapes === this.configured;
    parts.save.disabled = this.shapes === this.configured || Boolean(this.waiting);
    parts.unsave.disabled = !this.scene?.saved?.undo || Boolean(this.waiting);
    clearTimeout(this.checking);
    this.checking = setTimeout(() => this.check(parts.text.value), CHECK_AFTER_MS);
    this.picture.redraw();
  }

  // The very check that the configuration file gets.
  async check(text) {
    if (this.shapes === this.configured) {
      this.parts.check.textContent = this.configured.length ? "This is what runs now." : "";
      return;
    }
    const answer = await ask("/zones", text);
    const next = this.may ? "save it, or copy it into the configuration file." : "copy it into the configuration file.";
    const words = answer.ok ? `This will do: ${next}` : answer.why;
    if (text === this.parts.text.value) this.parts.check.textContent = words;
  }

  async copy() {
    const { text, copied } = this.parts;
    text.select();
    let done = false;
    try {
      // Only a page of this machine or over TLS has a clipboard; the old way goes everywhere.
      if (navigator.clipboard) await navigator.clipboard.writeText(text.value);
      done = Boolean(navigator.clipboard) || document.execCommand("copy");
    } catch {
      done = document.execCommand("copy");
    }
    copied.textContent = done ? "Copied." : "It is selected: copy it with Ctrl+C.";
  }

  draw(context, canvas) {
    const at = ([x, y]) => [x * canvas.width, y * canvas.height];
    for (const each of this.open ? [...this.shapes, this.open] : this.shapes) {
      const points = each.points.map(at);
      if (points.length) this.drawShape(context, each, points);
    }
    if (!this.open) return;
    const [x, y] = at(this.cross);
    context.strokeStyle = `rgb(${COLOURS[this.open.kind]})`;
    context.strokeRect(x - 8, y, 16, 0.5);
    context.strokeRect(x, y - 8, 0.5, 16);
  }

  drawShape(context, each, points) {
    context.lineWidth = 2;
    context.strokeStyle = `rgb(${COLOURS[each.kind]})`;
    // A masked area is dimmed.
    context.fillStyle = each.kind === "mask" ? "rgb(40 40 40 / 60%)" : `rgb(${COLOURS[each.kind]} / 12%)`;
    context.beginPath();
    points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (each.kind !== "line" && each !== this.open) context.closePath();
    if (each.kind !== "line") context.fill();
    context.stroke();
    if (each.kind === "line" && points.length === 2) this.arrow(context, ...points);
    const counted = Object.entries((each.kind === "zone" && this.counts[each.name]) || {}).filter(([, number]) => number);
    const inside = counted.map(([label, number]) => `${label} ${number}`).join(", ");
    this.picture.text(inside ? `${each.name}: ${inside}` : each.name, ...points[0]);
  }

  // left_to_right is as seen by a person who goes with the arrow.
  arrow(context, [x0, y0], [x1, y1]) {
    const angle = Math.atan2(y1 - y0, x1 - x0);
    context.beginPath();
    for (const turn of [2.7, -2.7]) {
      context.moveTo(x1, y1);
      context.lineTo(x1 + 10 * Math.cos(angle + turn), y1 + 10 * Math.sin(angle + turn));
    }
    context.stroke();
  }
}
