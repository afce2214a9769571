// Measures a model on an engine in this browser, in milliseconds, and posts what it found. An engine is a module with
// open(threads, version) -> {name, load(bytes) -> {run, prepare, classify, memory}}; prepare and classify only where it has them.
const BLOCK = 100;
const FRAME_RUNS = 30;
const FEW_FRAMES = 5; // enough, once they took so long:
const FRAME_TIME = 3000;
const MIN_BLOCKS = 10;

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

async function bytes(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.arrayBuffer();
}

async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function several(work) {
  const times = [];
  const start = performance.now();
  const enough = () => times.length >= FEW_FRAMES && performance.now() - start > FRAME_TIME;
  while (work && times.length < FRAME_RUNS && !enough()) times.push(await timed(work));
  return times;
}

async function measure(asked) {
  const seconds = Number(asked.get("seconds"));
  const file = await bytes("model");
  const opened = await (await import(`./${asked.get("engine")}.mjs`)).open(Number(asked.get("threads")), asked.get("version"));
  let model;
  const load = await timed(async () => (model = await opened.load(file)));
  const first = await timed(model.run);
  const runs = [];
  const blocks = [];
  let spent = 0;
  while (blocks.length < MIN_BLOCKS || spent < seconds * 1000) {
    const block = [];
    if (!blocks.length || blocks.at(-1) < BLOCK) await model.run(); // it finds the caches full of something else
    const end = performance.now() + BLOCK;
    while (!block.length || performance.now() < end) block.push(await timed(model.run));
    runs.push(...block);
    blocks.push(median(block));
    spent += block.reduce((sum, took) => sum + took, 0);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const prepare = await several(model.prepare);
  const frame = await several(model.classify);
  const memory = model.memory ? model.memory() : null;
  return { engine: opened.name, load, first, runs, blocks, prepare, frame, memory, agent: navigator.userAgent };
}

const asked = new URLSearchParams(location.search);
const found = await measure(asked).catch((error) => ({ error: String(error) }));
await fetch("found", { method: "POST", body: JSON.stringify(found) });
