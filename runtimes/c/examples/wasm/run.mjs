// node run.mjs t2m.wasm MODEL.tflite PICTURE.rgba WIDTH HEIGHT: prints the classes as JSON, best first.
import { readFileSync } from "node:fs";

function fail(why) {
  console.error(`error: ${why}`);
  process.exit(2);
}

function read(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    return fail(error.message);
  }
}

const [wasm, modelPath, picturePath, width, height] = process.argv.slice(2);
if (!height) fail("usage: node run.mjs t2m.wasm MODEL.tflite PICTURE.rgba WIDTH HEIGHT");
const { instance } = await WebAssembly.instantiate(read(wasm), {});
const core = instance.exports;

/** Copies bytes into the core's memory; returns where they are. */
function give(bytes) {
  const at = core.t2m_take(bytes.length);
  if (!at) fail("out of memory");
  new Uint8Array(core.memory.buffer, at, bytes.length).set(bytes);
  return at;
}

/** Text with a NUL at its end in the core's memory. */
function text(at) {
  const memory = new Uint8Array(core.memory.buffer);
  return new TextDecoder().decode(memory.subarray(at, memory.indexOf(0, at)));
}

function check(path, status) {
  if (status) fail(`${path}: ${text(core.t2m_text(status))}`);
}

const model = read(modelPath);
check(modelPath, core.t2m_load(give(model), model.length));
const picture = read(picturePath);
check(picturePath, core.t2m_classify(give(picture), picture.length, Number(width), Number(height)));

const scores = new Float32Array(core.memory.buffer, core.t2m_result(), core.t2m_count());
const classes = Array.from(scores, (score, index) => ({ name: text(core.t2m_name(index)), score }));
console.log(JSON.stringify(classes.sort((a, b) => b.score - a.score)));
