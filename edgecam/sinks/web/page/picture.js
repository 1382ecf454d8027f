// Draws one result over its picture. The canvas has the picture's size, and where no picture is
// sent at most MAX_WIDTH; results are in pixels of the source's frame.
const MAX_WIDTH = 640;
export const KEYPOINT_COLOUR = "rgb(255, 212, 0)";

// As in the window: neighbouring numbers get far-apart hues.
function colour(number) {
  return `hsl(${Math.round(((number * 0.61803398875) % 1) * 360)} 90% 62%)`;
}

export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.bitmap = null;
    this.result = null;
    this.underlay = () => {};
  }

  resize(frame) {
    const wanted = this.bitmap ? this.bitmap.width : Math.min(MAX_WIDTH, frame.width);
    const height = Math.round((wanted * frame.height) / frame.width);
    if (this.canvas.width !== wanted || this.canvas.height !== height) {
      this.canvas.width = wanted;
      this.canvas.height = height;
      this.canvas.style.setProperty("--aspect", wanted / height);
    }
    this.scale = wanted / frame.width;
  }

  setBitmap(bitmap) {
    if (this.bitmap) this.bitmap.close();
    this.bitmap = bitmap;
  }

  show(result, hello, stale = []) {
    this.result = result;
    // What an earlier look found, moved on with its track: drawn in dashes.
    this.stale = new Set(stale);
    this.hello = hello;
    this.redraw();
  }

  redraw() {
    const { context, canvas, result } = this;
    if (result) this.resize(result.frame);
    if (this.bitmap) context.drawImage(this.bitmap, 0, 0, canvas.width, canvas.height);
    else {
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
    }
    // On a phone the canvas is shown smaller than it is; words have to be read there too.
    this.enlarged = Math.max(1, canvas.width / (canvas.clientWidth || canvas.width));
    this.underlay(context, canvas);
    if (result) {
      (result.documents ?? []).forEach((page, index) => this.page(page, index));
      result.detections.forEach((found, index) => this.box(found, found.track ?? index, found.label, index));
      result.poses.forEach((pose, index) => this.pose(pose, pose.track ?? index));
      (result.classes ?? []).forEach((found, index) =>
        this.text(`${found.label} ${found.score.toFixed(2)}`, 8, (20 + 18 * index) * this.enlarged));
      canvas.dataset.sequence = result.sequence;
    }
  }

  page({ corners, score }, number) {
    const { context, scale } = this;
    context.strokeStyle = colour(number);
    context.lineWidth = 3;
    context.beginPath();
    corners.forEach(({ x, y }) => context.lineTo(x * scale, y * scale));
    context.closePath();
    context.stroke();
    this.text(`page ${score.toFixed(2)}`, corners[0].x * scale, corners[0].y * scale - 5);
  }

  text(words, x, y) {
    const { context } = this;
    context.font = `${14 * this.enlarged}px system-ui, sans-serif`;
    const left = Math.max(2, Math.min(x, this.canvas.width - context.measureText(words).width - 2));
    const base = Math.max(16 * this.enlarged, y);
    context.lineWidth = 3 * this.enlarged;
    context.strokeStyle = "#000";
    context.strokeText(words, left, base);
    context.fillStyle = "#fff";
    context.fillText(words, left, base);
  }

  box(found, number, label, index) {
    const [x0, y0, x1, y1] = found.box.map((value) => value * this.scale);
    this.context.lineWidth = 2;
    this.context.strokeStyle = colour(number);
    this.context.setLineDash(this.stale.has(index) ? [8, 6] : []);
    this.context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    this.context.setLineDash([]);
    const track = found.track === undefined ? "" : ` #${found.track}`;
    // Above the same person the pose has its own.
    const base = this.result.poses.length ? Math.min(this.canvas.height - 4, y1 + 14 * this.enlarged) : y0 - 4;
    this.text(`${label}${track} ${found.score.toFixed(2)}`, x0, base);
  }

  pose(pose, number) {
    const { context, scale, hello } = this;
    const bones = hello.bones[pose.skeleton ?? "coco"] ?? [];
    const points = Object.values(pose.keypoints);
    const sure = (index) => points[index].score >= hello.sure;
    context.lineWidth = 2;
    context.strokeStyle = colour(number);
    context.beginPath();
    for (const [from, to] of bones) {
      if (!sure(from) || !sure(to)) continue;
      context.moveTo(points[from].x * scale, points[from].y * scale);
      context.lineTo(points[to].x * scale, points[to].y * scale);
    }
    context.stroke();
    if (pose.track !== undefined) this.text(`#${pose.track}`, pose.box[0] * scale, pose.box[1] * scale - 4);
    context.fillStyle = KEYPOINT_COLOUR;
    points.forEach((point, index) => {
      if (!sure(index)) return;
      context.beginPath();
      context.arc(point.x * scale, point.y * scale, 3, 0, 2 * Math.PI);
      context.fill();
    });
  }
}
