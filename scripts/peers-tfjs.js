// TensorFlow.js pose-detection over the pictures of request.json, as benchmark_peer_runs.py asks.
// Argument: multipose or posenet. Prints what was found in each picture, and milliseconds.
const fs = require('fs');
const path = require('path');
const tf = require('@tensorflow/tfjs-core');
const wasm = require('@tensorflow/tfjs-backend-wasm');
require('@tensorflow/tfjs-backend-cpu');
const poses = require('@tensorflow-models/pose-detection');

const models = path.join(__dirname, 'node_modules', '@vladmandic', 'human-models', 'models');

// The package's PoseNet is written for one size, and names its outputs in another order.
function free(model) {
  const heads = ['offset', 'heatmap', 'displacement_fwd', 'displacement_bwd'];
  const outputs = Object.entries(model.signature.outputs);
  const named = (head) => outputs.find(([name]) => name.includes(`/${head}_`));
  model.signature.outputs = Object.fromEntries(heads.map(named));
  const inputs = Object.values(model.signature.inputs).map((input) => input.tensorShape);
  const held = model.modelTopology.node.filter((node) => node.op === 'Placeholder');
  for (const {dim} of [...inputs, ...held.map((node) => node.attr.shape.shape)]) {
    dim[1].size = dim[2].size = '-1';
  }
}

function stored(name, change = () => {}) {
  return {
    async load() {
      const model = JSON.parse(fs.readFileSync(path.join(models, `${name}.json`), 'utf8'));
      change(model);
      const parts = model.weightsManifest.flatMap((group) => group.paths);
      const bytes = Buffer.concat(parts.map((part) => fs.readFileSync(path.join(models, part))));
      return {
        modelTopology: model.modelTopology,
        signature: model.signature,
        weightSpecs: model.weightsManifest.flatMap((group) => group.weights),
        weightData: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
      };
    },
  };
}

const KINDS = {
  multipose: () => poses.createDetector(poses.SupportedModels.MoveNet, {
    modelType: 'MultiPose.Lightning', modelUrl: stored('movenet-multipose'),
    enableTracking: false, enableSmoothing: false, minPoseScore: 0.05,
  }),
  posenet: () => poses.createDetector(poses.SupportedModels.PoseNet, {
    architecture: 'MobileNetV1', outputStride: 16, multiplier: 0.75,
    inputResolution: {width: 481, height: 353}, modelUrl: stored('posenet', free),
  }),
};
const ASKED = {
  multipose: {maxPoses: 6},
  posenet: {maxPoses: 20, scoreThreshold: 0.05, nmsRadius: 20},
};

async function main(kind) {
  wasm.setWasmPaths(path.join(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')), path.sep));
  await tf.setBackend('wasm');
  await tf.ready();
  const detector = await KINDS[kind]();
  const request = JSON.parse(fs.readFileSync('request.json', 'utf8'));
  const answer = [];
  for (const {file, width, height} of request.pictures) {
    const pixels = tf.tensor3d(new Uint8Array(fs.readFileSync(file)), [height, width, 3], 'int32');
    const cpu = process.cpuUsage();
    const began = process.hrtime.bigint();
    const found = await detector.estimatePoses(pixels, ASKED[kind]);
    const ms = Number(process.hrtime.bigint() - began) / 1e6;
    const used = process.cpuUsage(cpu);
    pixels.dispose();
    answer.push({
      ms,
      cpu_ms: (used.user + used.system) / 1e3,
      poses: found.map(({score, keypoints}) => ({
        score, keypoints: keypoints.map((point) => [point.x, point.y, point.score]),
      })),
    });
  }
  fs.writeFileSync('answer.json', JSON.stringify(answer));
}

main(process.argv[2]).catch((error) => { console.error(error); process.exit(1); });
