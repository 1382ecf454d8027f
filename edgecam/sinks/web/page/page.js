// Follows the stream: every bundle is answered with "next", so that a slow page skips results.
import { ask } from "/ask.js";
import { navigate, of } from "/cameras.js";
import { Events } from "/events.js";
import { Picture } from "/picture.js";
import { Plot } from "/plots.js";
import { Zones } from "/zones.js";

const RETRY_MS = 2000;
const PEOPLE_IN = new Set(["poses", "boxes"]);

const by = (id) => document.getElementById(id);
const picture = new Picture(by("picture"));
const plots = [
  new Plot(by("plot-fps"), by("fps"), 1),
  new Plot(by("plot-latency"), by("latency"), 0),
  new Plot(by("plot-temperature"), by("temperature"), 1),
];
const events = new Events(by("events"), by("announcement"));
const zones = new Zones(picture, {
  zone: by("zone-new"), mask: by("mask-new"), line: by("line-new"), reset: by("shapes-reset"),
  list: by("shapes"), text: by("toml"), check: by("toml-check"), copy: by("toml-copy"), copied: by("toml-copied"),
  bar: by("drawing"), what: by("drawing-what"),
  done: by("shape-done"), undo: by("shape-undo"), cancel: by("shape-cancel"),
  how: by("shapes-how"), saving: by("saving"), save: by("shapes-save"), unsave: by("shapes-unsave"), saved: by("shapes-saved"),
});
let hello = null;
let telemetry = null;
let socket = null;

// Numbers as they are published. A label that was there once keeps a place: nothing moves about.
const known = new Set();

// What a model finds that sees no people is there too, by its name.
const others = ({ classes = [], documents = [] }) => [
  ...classes.slice(0, 1).map(({ label }) => label),
  ...(documents.length ? [`page ${documents.length}`] : []),
];
const none = () => (telemetry?.models.some(({ finds }) => PEOPLE_IN.has(finds)) === false ? "nothing" : "no people");

function showCounts(counts, zoneCounts, result) {
  for (const label of Object.keys(counts)) known.add(label);
  const some = (numbers) => Object.entries(numbers).filter(([, number]) => number).map(([label, number]) => `${label} ${number}`);
  const words = [
    ...Object.entries(zoneCounts).map(([zone, numbers]) => `${zone}: ${some(numbers).join(", ") || "nothing"}`),
    ...[...known].map((label) => `${label} ${counts[label] ?? 0}`),
    ...others(result),
  ];
  if (!words.length) words.push(none());
  const text = words.join("; ");
  if (by("counts").dataset.text === text) return;
  by("counts").dataset.text = text;
  while (by("counts").childElementCount < words.length) by("counts").append(document.createElement("li"));
  while (by("counts").childElementCount > words.length) by("counts").lastChild.remove();
  words.forEach((each, place) => { by("counts").children[place].textContent = each; });
  picture.canvas.setAttribute("aria-label", `Live picture of ${hello.name}: ${text}`);
}

function badge(words, good) {
  const span = document.createElement("span");
  span.className = `badge ${good ? "good" : "bad"}`;
  span.textContent = words;
  return span;
}

const why = (part) => (part.reason ? `${part.state}: ${part.reason}` : part.state);

function showState(connected) {
  const badges = [badge(connected ? "connected" : "no connection to edgecam", connected)];
  badges[0].id = "connection";
  if (telemetry && connected) {
    badges.push(badge(`camera ${why(telemetry.source)}`, telemetry.source.state === "online"));
    if (telemetry.mqtt) badges.push(badge(`broker ${why(telemetry.mqtt)}`, telemetry.mqtt.state === "connected"));
    if (telemetry.paused) badges.push(badge("paused", false));
    if (telemetry.throttled) badges.push(badge("throttled", false));
  }
  // What stays there is not now.
  by("picture").classList.toggle("stale", !connected || (telemetry !== null && telemetry.source.state !== "online"));
  // Only what is new is put in place, or a screen reader would say it all again.
  const text = badges.map((part) => part.textContent).join("|");
  if (by("state").dataset.text === text) return;
  by("state").dataset.text = text;
  by("state").replaceChildren(...badges);
}

function showHealth() {
  const t = telemetry;
  const ms = (part) => (part ? `${part.p50.toFixed(1)} ms (95 %: ${part.p95.toFixed(1)})` : "–");
  const rows = [
    ["Model", t.models.map((model) => `${model.name} (${model.family ?? "?"})`).join(", ")],
    ["Delegate", `${t.delegate ?? "?"}, ${t.threads ?? "?"} ${t.threads === 1 ? "thread" : "threads"}, ${t.runtime ?? "?"}`],
    ["Invoke", ms(t.invoke_ms)],
    ["Camera", why(t.source)],
    ["Reconnects", t.reconnects],
    ["Dropped frames", t.dropped],
    ["Broker", t.mqtt ? why(t.mqtt) : "none configured"],
    ...Object.entries({ ...t.source.faults, ...(t.mqtt?.counters ?? {}), ...t.counters })
      .filter(([name, number]) => number && name !== "dropped_frames" && !name.startsWith("web_"))
      .map(([name, number]) => [name.replaceAll("_", " "), number]),
  ];
  by("health").replaceChildren(...rows.map(([name, value]) => {
    const row = document.createElement("tr");
    const head = Object.assign(document.createElement("th"), { textContent: name, scope: "row" });
    row.append(head, Object.assign(document.createElement("td"), { textContent: value }));
    return row;
  }));
}

function report(message) {
  telemetry = message.telemetry;
  const [time, ...values] = message.point;
  plots.forEach((plot, index) => plot.add(time, values[index]));
  by("pause").setAttribute("aria-pressed", telemetry.paused);
  if (document.activeElement !== by("threshold")) setThreshold(message.score_threshold);
  showState(true);
  showHealth();
}

function setThreshold(value) {
  by("threshold").value = value;
  // Whatever is written there is read out, even if it is the same.
  if (by("threshold-value").textContent !== value.toFixed(2)) by("threshold-value").textContent = value.toFixed(2);
}

function greet(message) {
  hello = message;
  by("name").textContent = hello.name;
  document.title = `edgecam ${hello.name}`;
  by("pause").hidden = !hello.controls.includes("pause");
  by("snapshot").hidden = !hello.controls.includes("snapshot");
  by("threshold-row").hidden = !hello.controls.includes("decode.score_threshold");
  zones.allow(hello.controls.includes("zones"));
  by("pictures").disabled = !hello.pictures;
  if (!hello.pictures) by("pictures").checked = false;
  events.reset(hello.events);
  plots.forEach((plot, index) => plot.reset(hello.history.map((point) => [point[0], point[index + 1]])));
  sendWish();
  showState(true);
}

async function take(message, blob, from) {
  if (message.hello) return greet(message.hello);
  if (message.scene) zones.configure(message.scene);
  if (message.result) {
    const { result } = message;
    zones.counts = message.zone_counts;
    // One may still come after it was asked for no more.
    if (!by("pictures").checked) picture.setBitmap(null);
    else if (message.picture) picture.setBitmap(await createImageBitmap(blob));
    picture.show(result, hello, message.stale);
    const age = result.age_ms === undefined ? "" : `, ${Math.round(result.age_ms)} ms old`;
    by("caption").textContent = `frame ${result.sequence}${age}, ${result.model}`;
    showCounts(message.counts, message.zone_counts, result);
  }
  if (message.events) events.add(message.events);
  if (message.report) report(message.report);
  // It may have closed while the picture was decoded.
  if (from.readyState === WebSocket.OPEN) from.send("next");
}

function sendWish() {
  if (!by("pictures").checked) {
    picture.setBitmap(null);
    picture.redraw();
  }
  if (socket?.readyState === WebSocket.OPEN) socket.send(by("pictures").checked ? "pictures on" : "pictures off");
}

function connect() {
  const opened = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${of("/stream")}`);
  socket = opened;
  socket.binaryType = "blob";
  let blob = null;
  socket.onmessage = (event) => {
    if (typeof event.data !== "string") blob = event.data;
    else take(JSON.parse(event.data), blob, opened);
  };
  socket.onclose = () => {
    showState(false);
    setTimeout(retry, RETRY_MS);
  };
}

async function retry() {
  // Another token since: the page itself then asks for it.
  const answer = await fetch("/page.js").catch(() => null);
  if (answer?.status === 401) location.reload();
  else connect();
}

async function control(name, value) {
  by("answer").textContent = (await ask(of("/control"), JSON.stringify({ control: name, value }))).why;
}

by("pictures").addEventListener("change", sendWish);
by("pause").addEventListener("click", () => control("pause", telemetry?.paused ? "off" : "on"));
by("snapshot").addEventListener("click", () => control("snapshot", ""));
by("threshold").addEventListener("input", () => { by("threshold-value").textContent = Number(by("threshold").value).toFixed(2); });
navigate(by("cameras"));
by("threshold").addEventListener("change", () => control("decode.score_threshold", by("threshold").value));
connect();
