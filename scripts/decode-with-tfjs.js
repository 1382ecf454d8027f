// node decode-with-tfjs.js REQUEST.json: decode float32 tensors with TensorFlow.js PoseNet.
// Run by make-decoder-vectors in a folder where the packages are installed. Prints JSON.
'use strict';
const fs = require('fs');
const tf = require('@tensorflow/tfjs-core');
require('@tensorflow/tfjs-backend-cpu');
const dist = '@tensorflow-models/posenet/dist';
const {decodeMultiplePoses} = require(`${dist}/multi_pose/decode_multiple_poses`);
const {decodeSinglePose} = require(`${dist}/single_pose/decode_single_pose`);

function load({file, shape}) {
  const bytes = fs.readFileSync(file);
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  return tf.tensor3d(values, shape);
}

const rounded = (value, digits) => Number(value.toFixed(digits));

function plain(pose) {
  return {
    score: rounded(pose.score, 9),
    keypoints: pose.keypoints.map(
        ({position, score}) => [rounded(position.y, 6), rounded(position.x, 6), rounded(score, 9)]),
  };
}

async function main() {
  await tf.setBackend('cpu');
  const answers = [];
  for (const set of JSON.parse(fs.readFileSync(process.argv[2], 'utf8'))) {
    const scores = tf.sigmoid(load(set.heatmaps));
    const [offsets, forward, backward] =
        [set.offsets, set.displacement_fwd, set.displacement_bwd].map(load);
    const buffers = [scores, offsets, forward, backward].map((tensor) => tensor.bufferSync());
    const results = set.settings.map((settings) => ({
      settings,
      poses: decodeMultiplePoses(
          ...buffers, set.stride, settings.max_poses, settings.score_threshold,
          settings.nms_radius_px).map(plain),
    }));
    results.push({settings: null, poses: [plain(await decodeSinglePose(scores, offsets, set.stride))]});
    answers.push(results);
  }
  process.stdout.write(JSON.stringify(answers));
}

main();
