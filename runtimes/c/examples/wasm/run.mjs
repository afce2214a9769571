// node run.mjs t2m.wasm MODEL.tflite PICTURE.rgba WIDTH HEIGHT: prints the classes as JSON, best first.
import { readFileSync } from "node:fs";

const [wasm, modelPath, picturePath, width, height] = process.argv.slice(2);
const { instance } = await WebAssembly.instantiate(readFileSync(wasm), {});
const core = instance.exports;

/** Copies bytes into the core's memory; returns where they are. */
function give(bytes) {
  const at = core.t2m_take(bytes.length);
  new Uint8Array(core.memory.buffer, at, bytes.length).set(bytes);
  return at;
}

function check(status) {
  if (status) throw new Error(`t2m status ${status}`);
}

const model = readFileSync(modelPath);
check(core.t2m_load(give(model), model.length));
check(core.t2m_classify(give(readFileSync(picturePath)), Number(width), Number(height)));

const scores = new Float32Array(core.memory.buffer, core.t2m_result(), core.t2m_count());
const classes = Array.from(scores, (score, index) => {
  const at = core.t2m_name(index);
  const memory = new Uint8Array(core.memory.buffer);
  return { name: new TextDecoder().decode(memory.subarray(at, memory.indexOf(0, at))), score };
});
console.log(JSON.stringify(classes.sort((a, b) => b.score - a.score)));
