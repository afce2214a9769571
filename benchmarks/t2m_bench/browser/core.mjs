// The C core as WebAssembly (board/wasm.c). Compiling it counts as loading.
function check(status) {
  if (status) throw new Error(`the core refuses the model: t2m status ${status}`);
}

export async function open() {
  const code = await (await fetch("core.wasm")).arrayBuffer();
  const engine = { name: "core" };
  engine.load = async (file) => {
    const core = (await WebAssembly.instantiate(code, {})).instance.exports;
    const at = core.take(file.byteLength);
    new Uint8Array(core.memory.buffer, at, file.byteLength).set(new Uint8Array(file));
    check(core.load(at, file.byteLength));
    check(core.prepare());
    const text = new Uint8Array(core.memory.buffer, core.kernels(), 32);
    engine.name = `core ${new TextDecoder().decode(text.slice(0, text.indexOf(0)))}`;
    return {
      run: () => check(core.run()),
      prepare: () => check(core.prepare()),
      classify: () => check(core.frame()),
      memory: () => core.memory.buffer.byteLength,
    };
  };
  return engine;
}
