// Draws one result over its picture. The canvas has the picture's size, and where no picture is
// sent at most MAX_WIDTH; results are in pixels of the source's frame.
import { Labels } from "/labels.js";

const MAX_WIDTH = 640;
const DASHES = [8, 6];
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

  // stale: the places of the boxes and of the poses that an earlier look found, moved on with
  // their tracks: drawn in dashes.
  show(result, hello, stale = { detections: [], poses: [] }) {
    this.result = result;
    this.stale = { detections: new Set(stale.detections), poses: new Set(stale.poses) };
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
    const enlarged = Math.max(1, canvas.width / (canvas.clientWidth || canvas.width));
    this.labels = new Labels(context, enlarged);
    this.underlay(context, canvas);
    if (result) {
      (result.documents ?? []).forEach((page, index) => this.page(page, index));
      result.detections.forEach((found, index) => this.box(found, found.track ?? index, found.label, index));
      result.poses.forEach((pose, index) => this.pose(pose, pose.track ?? index, index));
      (result.classes ?? []).forEach((found) =>
        this.labels.add(`${found.label} ${found.score.toFixed(2)}`, [8, 8, 8, 8]));
    }
    this.labels.draw();
    if (result) canvas.dataset.sequence = result.sequence;
  }

  page({ corners, score }, number) {
    const { context, scale } = this;
    context.strokeStyle = colour(number);
    context.lineWidth = 3;
    context.beginPath();
    corners.forEach(({ x, y }) => context.lineTo(x * scale, y * scale));
    context.closePath();
    context.stroke();
    const [x, y] = [corners[0].x * scale, corners[0].y * scale];
    this.labels.add(`page ${score.toFixed(2)}`, [x, y - 5, x, y]);
  }

  // What a zone, mask or line is called, at its first corner.
  text(words, x, y) {
    this.labels.add(words, [x, y, x, y]);
  }

  box(found, number, label, index) {
    const [x0, y0, x1, y1] = found.box.map((value) => value * this.scale);
    this.context.lineWidth = 2;
    this.context.strokeStyle = colour(number);
    this.context.setLineDash(this.stale.detections.has(index) ? DASHES : []);
    this.context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    this.context.setLineDash([]);
    // Of one person pose and box have one id: the pose has it.
    const { track } = found;
    if (track !== undefined && this.result.poses.some((pose) => pose.track === track)) return;
    const id = track === undefined ? "" : ` #${track}`;
    this.labels.add(`${label}${id} ${found.score.toFixed(2)}`, [x0, y0, x1, y1]);
  }

  pose(pose, number, index) {
    const { context, scale, hello } = this;
    const bones = hello.bones[pose.skeleton ?? "coco"] ?? [];
    const points = Object.values(pose.keypoints);
    const sure = (index) => points[index].score >= hello.sure;
    context.lineWidth = 2;
    context.strokeStyle = colour(number);
    context.setLineDash(this.stale.poses.has(index) ? DASHES : []);
    context.beginPath();
    for (const [from, to] of bones) {
      if (!sure(from) || !sure(to)) continue;
      context.moveTo(points[from].x * scale, points[from].y * scale);
      context.lineTo(points[to].x * scale, points[to].y * scale);
    }
    context.stroke();
    context.setLineDash([]);
    if (pose.track !== undefined) this.labels.add(`#${pose.track}`, pose.box.map((value) => value * scale));
    context.fillStyle = KEYPOINT_COLOUR;
    points.forEach((point, index) => {
      if (!sure(index)) return;
      context.beginPath();
      context.arc(point.x * scale, point.y * scale, 3, 0, 2 * Math.PI);
      context.fill();
    });
  }
}
