// The camera through the model of model.js: labels and frames a second.
'use strict';

const SHOWN = 5;
const about = MODEL.userDefinedMetadata;
const element = (id) => document.getElementById(id);
const video = element('camera');
const canvas = document.createElement('canvas');
const times = [];

function say(text) {
  element('said').textContent = text;
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}

// As edgecam shows pictures to the model: centred and whole, its middle, or stretched.
function draw(context, width, height) {
  const [wide, high] = [video.videoWidth, video.videoHeight];
  context.fillStyle = '#000';
  context.fillRect(0, 0, width, height);
  if (about.fit === 'stretch') {
    context.drawImage(video, 0, 0, width, height);
    return;
  }
  const pick = about.fit === 'crop' ? Math.max : Math.min;
  const scale = pick(width / wide, height / high);
  const size = [Math.round(wide * scale), Math.round(high * scale)];
  const at = [Math.floor((width - size[0]) / 2), Math.floor((height - size[1]) / 2)];
  context.drawImage(video, ...at, ...size);
}

function picture(context) {
  const {height, width, channels} = about.input;
  draw(context, width, height);
  return tf.tidy(() => {
    let pixels = tf.cast(tf.browser.fromPixels(canvas), 'float32');
    if (channels === 1) {
      pixels = tf.sum(tf.mul(pixels, [0.299, 0.587, 0.114]), 2, true);
    }
    const count = channels === 1 ? 1 : 3;
    const [mean, std] = [about.mean.slice(0, count), about.std.slice(0, count)];
    return tf.expandDims(tf.div(tf.sub(pixels, mean), std), 0);
  });
}

function show(rows) {
  element('labels').replaceChildren(...rows.map(([name, share, text]) => {
    const [item, line, label, value] = ['li', 'span', 'b', 'em'].map((tag) => document.createElement(tag));
    label.textContent = name;
    value.textContent = text;
    line.append(label, value);
    item.append(line);
    if (share !== null) {
      const [track, bar] = [document.createElement('div'), document.createElement('i')];
      bar.style.width = `${100 * share}%`;
      track.append(bar);
      item.append(track);
    }
    return item;
  }));
}

async function rows(outputs) {
  const values = await outputs[0].data();
  if (outputs.length === 1 && values.length === about.labels.length) {
    const found = about.labels.map((name, place) => [name, values[place]]);
    found.sort((one, other) => other[1] - one[1]);
    return found.slice(0, SHOWN).map(([name, score]) => [name, score, `${(100 * score).toFixed(0)} %`]);
  }
  return outputs.map((output, place) => [about.outputs[place], null, output.shape.join(' x ')]);
}

function count() {
  const now = performance.now();
  times.push(now);
  while (times[0] < now - 2000) {
    times.shift();
  }
  if (times.length > 1) {
    const rate = (times.length - 1) / (now - times[0]) * 1000;
    element('rate').textContent = `${rate.toFixed(1)} frames a second on ${tf.getBackend()}`;
  }
}

async function loop(model, context) {
  if (video.readyState >= 2 && video.videoWidth) {
    const image = picture(context);
    const found = model.predict(image);
    const outputs = Array.isArray(found) ? found : [found];
    show(await rows(outputs));
    tf.dispose([image, ...outputs]);
    count();
  }
  requestAnimationFrame(() => loop(model, context).catch((error) => say(String(error))));
}

async function open(id) {
  for (const track of video.srcObject ? video.srcObject.getTracks() : []) {
    track.stop();
  }
  const wanted = id ? {deviceId: {exact: id}} : {facingMode: 'environment'};
  video.srcObject = await navigator.mediaDevices.getUserMedia({video: wanted, audio: false});
}

async function listCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const cameras = devices.filter((device) => device.kind === 'videoinput');
  const list = element('cameras');
  list.replaceChildren(...cameras.map((device, place) => {
    const option = document.createElement('option');
    option.value = device.deviceId;
    option.textContent = device.label || `Camera ${place + 1}`;
    return option;
  }));
  list.hidden = cameras.length < 2;
  list.onchange = () => open(list.value).catch((error) => say(`The camera does not open: ${error.message}`));
}

async function main() {
  document.title = about.name;
  element('title').textContent = about.name;
  if (typeof tf === 'undefined') {
    say('TensorFlow.js did not load. Put tf.min.js beside this page, or go online.');
    return;
  }
  if (!navigator.mediaDevices) {
    say('This browser gives no camera to this page: open it from the disk, by https, or as localhost.');
    return;
  }
  try {
    await open(null);
  } catch (error) {
    say(`The camera does not open: ${error.message}`);
    return;
  }
  await listCameras();
  await tf.ready();
  const {weights, ...artifacts} = MODEL;
  const model = await tf.loadGraphModel(tf.io.fromMemory({...artifacts, weightData: bytes(weights)}));
  canvas.width = about.input.width;
  canvas.height = about.input.height;
  await loop(model, canvas.getContext('2d', {willReadFrequently: true}));
}

main().catch((error) => say(String(error)));
