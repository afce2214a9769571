// Measures a model on the C core in this browser, in milliseconds, and posts what it found.
const BLOCK = 100;
const FRAME_RUNS = 30;
const MIN_BLOCKS = 10;

function check(status) {
  if (status) throw new Error(`the core refuses the model: t2m status ${status}`);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

async function bytes(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.arrayBuffer();
}

async function measure(seconds) {
  const [code, file] = await Promise.all([bytes("core.wasm"), bytes("model.tflite")]);
  const began = performance.now();
  const core = (await WebAssembly.instantiate(code, {})).instance.exports;
  const at = core.take(file.byteLength);
  new Uint8Array(core.memory.buffer, at, file.byteLength).set(new Uint8Array(file));
  check(core.load(at, file.byteLength));
  const loaded = performance.now();
  check(core.prepare());
  const ready = performance.now();
  check(core.run());
  const first = performance.now() - ready;
  const timed = (work) => {
    const start = performance.now();
    check(work());
    return performance.now() - start;
  };
  const runs = [];
  const blocks = [];
  for (let i = 0; i < Math.max(MIN_BLOCKS, Math.round((seconds * 1000) / BLOCK)); i++) {
    const block = [];
    const end = performance.now() + BLOCK;
    core.run();
    while (!block.length || performance.now() < end) block.push(timed(core.run));
    runs.push(...block);
    blocks.push(median(block));
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const several = (work) => Array.from({ length: FRAME_RUNS }, () => timed(work));
  const text = new Uint8Array(core.memory.buffer, core.kernels(), 32);
  const kernels = new TextDecoder().decode(text.slice(0, text.indexOf(0)));
  const memory = core.memory.buffer.byteLength;
  return {
    kernels, memory, first, runs, blocks, load: loaded - began, prepare: several(core.prepare), frame: several(core.frame),
    agent: navigator.userAgent, cores: navigator.hardwareConcurrency,
  };
}

const seconds = Number(new URLSearchParams(location.search).get("seconds"));
const found = await measure(seconds).catch((error) => ({ error: String(error) }));
await fetch("found", { method: "POST", body: JSON.stringify(found) });
