// Follows the stream: every bundle is answered with "next", so that a slow page skips results.
import { Picture } from "/picture.js";
import { Plot } from "/plots.js";
import { Zones } from "/zones.js";

const RETRY_MS = 2000;
const SETTLE_MS = 1000;
const MAX_EVENTS = 200;

const by = (id) => document.getElementById(id);
const picture = new Picture(by("picture"));
const plots = [
  new Plot(by("plot-fps"), by("fps"), 1),
  new Plot(by("plot-latency"), by("latency"), 0),
  new Plot(by("plot-temperature"), by("temperature"), 1),
];
new Zones(picture, {
  zone: by("zone-new"), line: by("line-new"), done: by("shape-done"), undo: by("shape-undo"),
  clear: by("shape-clear"), copy: by("toml-copy"), text: by("toml"),
});
let hello = null;
let telemetry = null;
let socket = null;
const seen = {};
let counts = {};
let shownCounts = null;
let countsSince = 0;

function log(words) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date().toLocaleTimeString();
  item.append(time, ` ${words}`);
  by("events").prepend(item);
  while (by("events").childElementCount > MAX_EVENTS) by("events").lastChild.remove();
}

// Say a change once, the first value not at all.
function changed(key, value, words) {
  if (key in seen && seen[key] !== value) log(words);
  seen[key] = value;
}

function countUp(result) {
  const found = {};
  for (const detection of result.detections) found[detection.label] = (found[detection.label] ?? 0) + 1;
  if (result.poses.length) found.person = Math.max(found.person ?? 0, result.poses.length);
  const text = JSON.stringify(found);
  if (text !== JSON.stringify(counts)) countsSince = performance.now();
  counts = found;
  // A person who flickers is no event.
  if (text === shownCounts || performance.now() - countsSince < SETTLE_MS) return;
  const before = shownCounts ? JSON.parse(shownCounts) : {};
  for (const label of new Set([...Object.keys(before), ...Object.keys(found)])) {
    const [old, now] = [before[label] ?? 0, found[label] ?? 0];
    if (old !== now) log(`${label}: ${old} → ${now}`);
  }
  shownCounts = text;
  by("counts").replaceChildren(...(Object.entries(found).length ? Object.entries(found) : [["nobody", ""]])
    .map(([label, number]) => Object.assign(document.createElement("li"), { textContent: `${label} ${number}` })));
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
  // Only what is new is put in place, or a screen reader would say it all again.
  const text = badges.map((part) => part.textContent).join("|");
  if (by("state").dataset.text === text) return;
  by("state").dataset.text = text;
  by("state").replaceChildren(...badges);
}

function showHealth() {
  const t = telemetry;
  const ms = (part) => (part ? `${part.p50} ms (95 %: ${part.p95})` : "–");
  const rows = [
    ["Model", t.models.map((model) => `${model.name} (${model.family ?? "?"})`).join(", ")],
    ["Delegate", `${t.delegate ?? "?"}, ${t.threads ?? "?"} threads, ${t.runtime ?? "?"}`],
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
  changed("source", telemetry.source.state, `camera ${why(telemetry.source)}`);
  changed("broker", telemetry.mqtt?.state, `broker ${telemetry.mqtt ? why(telemetry.mqtt) : "gone"}`);
  changed("reconnects", telemetry.reconnects, `camera reconnected (${telemetry.reconnects})`);
  changed("paused", telemetry.paused, telemetry.paused ? "paused" : "goes on");
  changed("delegate", telemetry.delegate, `delegate ${telemetry.delegate}`);
  by("pause").setAttribute("aria-pressed", telemetry.paused);
  if (document.activeElement !== by("threshold")) setThreshold(message.score_threshold);
  showState(true);
  showHealth();
}

function setThreshold(value) {
  by("threshold").value = value;
  by("threshold-value").textContent = value.toFixed(2);
}

function greet(message) {
  hello = message;
  by("name").textContent = hello.name;
  document.title = `edgecam ${hello.name}`;
  by("pause").hidden = !hello.controls.includes("pause");
  by("snapshot").hidden = !hello.controls.includes("snapshot");
  by("threshold-row").hidden = !hello.controls.includes("decode.score_threshold");
  by("pictures").disabled = !hello.pictures;
  if (!hello.pictures) by("pictures").checked = false;
  plots.forEach((plot, index) => plot.reset(hello.history.map((point) => [point[0], point[index + 1]])));
  sendWish();
  showState(true);
}

function describe(result) {
  picture.canvas.setAttribute("aria-label", `Live picture of ${hello.name}: ${result.poses.length} poses, ${result.detections.length} boxes`);
  const age = result.age_ms === undefined ? "" : `, ${Math.round(result.age_ms)} ms old`;
  by("caption").textContent = `frame ${result.sequence}${age}, ${result.model}`;
}

async function take(message, blob) {
  if (message.hello) return greet(message.hello);
  if (message.result) {
    // One may still come after it was asked for no more.
    if (!by("pictures").checked) picture.setBitmap(null);
    else if (message.picture) picture.setBitmap(await createImageBitmap(blob));
    picture.show(message.result, hello);
    describe(message.result);
    countUp(message.result);
  }
  if (message.report) report(message.report);
  socket.send("next");
}

function sendWish() {
  if (!by("pictures").checked) {
    picture.setBitmap(null);
    picture.redraw();
  }
  if (socket?.readyState === WebSocket.OPEN) socket.send(by("pictures").checked ? "pictures on" : "pictures off");
}

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/stream`);
  socket.binaryType = "blob";
  let blob = null;
  socket.onmessage = (event) => {
    if (typeof event.data !== "string") blob = event.data;
    else take(JSON.parse(event.data), blob);
  };
  socket.onclose = () => {
    showState(false);
    setTimeout(connect, RETRY_MS);
  };
}

async function control(name, value) {
  const answer = await fetch("/control", {
    method: "POST",
    headers: { "X-Edgecam": "1", "Content-Type": "application/json" },
    body: JSON.stringify({ control: name, value }),
  });
  by("answer").textContent = answer.ok ? "" : await answer.text();
}

by("pictures").addEventListener("change", sendWish);
by("pause").addEventListener("click", () => control("pause", telemetry?.paused ? "off" : "on"));
by("snapshot").addEventListener("click", () => control("snapshot", ""));
by("threshold").addEventListener("input", () => { by("threshold-value").textContent = Number(by("threshold").value).toFixed(2); });
by("threshold").addEventListener("change", () => control("decode.score_threshold", by("threshold").value));
connect();
