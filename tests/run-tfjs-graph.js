// node run-tfjs-graph.js REQUEST.json: run a graph model with TensorFlow.js on given tensors.
// REQUEST: {model: URL, inputs: [{file, shape}], outputs: [names], folder}. Writes float32 files
// folder/INPUT-OUTPUT.f32 and prints their shapes as JSON, per input and output.
'use strict';
const fs = require('fs');
const path = require('path');
const tf = require('@tensorflow/tfjs-core');
require('@tensorflow/tfjs-backend-cpu');
const {loadGraphModel} = require('@tensorflow/tfjs-converter');

async function main() {
  const request = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
  await tf.setBackend('cpu');
  const model = await loadGraphModel(request.model);
  const shapes = [];
  for (const [place, {file, shape}] of request.inputs.entries()) {
    const bytes = fs.readFileSync(file);
    const values = new Float32Array(
        bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    const found = model.execute(tf.tensor(values, shape), request.outputs);
    const tensors = Array.isArray(found) ? found : [found];
    tensors.forEach((tensor, output) => {
      const target = path.join(request.folder, `${place}-${output}.f32`);
      fs.writeFileSync(target, Buffer.from(Float32Array.from(tensor.dataSync()).buffer));
    });
    shapes.push(tensors.map((tensor) => tensor.shape));
  }
  console.log(JSON.stringify(shapes));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
