// Every camera as a tile: its newest picture, how many are in it, and whether it delivers.
import { cameras, of } from "/cameras.js";

const PICTURE_MS = 1000;
const LIST_MS = 5000;
const grid = document.getElementById("grid");
const state = document.getElementById("state");
const tiles = new Map();

function made(name) {
  const tile = Object.assign(document.createElement("a"), { href: of("/", name), className: "tile" });
  const picture = Object.assign(document.createElement("img"), { alt: "" });
  const words = document.createElement("span");
  const title = Object.assign(document.createElement("strong"), { textContent: name });
  const said = Object.assign(document.createElement("small"), { textContent: "no report yet" });
  words.append(title, " ", said);
  tile.append(picture, words);
  return { tile, picture, said, shown: null };
}

async function show(name, { tile, picture, said }) {
  const answer = await fetch(of("/api/state", name)).catch(() => null);
  if (answer?.status === 401) return location.reload();
  if (!answer?.ok) {
    said.textContent = "no connection";
    tile.classList.add("stale");
    return undefined;
  }
  const { counts, posture, telemetry } = await answer.json();
  const source = telemetry?.source;
  const seen = Object.entries(counts).filter(([, number]) => number).map(([label, number]) => `${label} ${number}`);
  const words = source && source.state !== "online" ? [source.state, source.reason ?? ""] : [seen.join(", ") || "nothing"];
  if (posture === "fallen") words.unshift("fallen");
  if (telemetry) words.push(`${(telemetry.fps.published ?? 0).toFixed(1)} fps`);
  said.textContent = words.filter(Boolean).join(", ");
  tile.classList.toggle("alarm", posture === "fallen");
  tile.classList.toggle("stale", Boolean(source) && source.state !== "online");
  // Not by the image's own address: one that fails would leave a broken one in place.
  const jpeg = await fetch(of("/snapshot.jpg", name)).catch(() => null);
  if (!jpeg?.ok) return undefined;
  const before = picture.src;
  picture.src = URL.createObjectURL(await jpeg.blob());
  if (before) URL.revokeObjectURL(before);
  return undefined;
}

async function follow(name) {
  while (tiles.has(name)) {
    const began = performance.now();
    if (!document.hidden) await show(name, tiles.get(name));
    await new Promise((done) => { setTimeout(done, Math.max(100, PICTURE_MS - (performance.now() - began))); });
  }
}

async function list() {
  const names = await cameras();
  state.textContent = names.length ? "" : "no connection to edgecam";
  for (const name of [...tiles.keys()].filter((each) => names.length && !names.includes(each))) {
    tiles.get(name).tile.remove();
    tiles.delete(name);
  }
  for (const name of names.filter((each) => !tiles.has(each))) {
    tiles.set(name, made(name));
    grid.append(tiles.get(name).tile);
    follow(name);
  }
  if (!grid.contains(document.activeElement)) grid.firstElementChild?.focus();
  setTimeout(list, LIST_MS);
}

grid.addEventListener("keydown", (event) => {
  const all = [...grid.children];
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const next = all.indexOf(document.activeElement) + step;
  all[(next + all.length) % all.length].focus();
});
list();
