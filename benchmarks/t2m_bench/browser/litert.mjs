// LiteRT.js on WebAssembly. It takes and gives float32, uint8 and int32. Starting the engine counts as loading.
import { noise } from "./noise.mjs";

export async function open(threads, version) {
  const litert = await import("@litertjs/core");
  return {
    name: `litertjs ${version}`,
    async load(file) {
      await litert.loadLiteRt("/modules/@litertjs/core/wasm/", { threads: threads > 1 });
      const options = { accelerator: "wasm", cpuOptions: { numThreads: threads } };
      const model = await litert.loadAndCompile(new Uint8Array(file), options);
      const inputs = model.getInputDetails().map((input) => {
        const shape = [...input.shape];
        return new litert.Tensor(noise(input.dtype, shape), shape);
      });
      const run = async () => {
        for (const output of await model.run(inputs)) {
          output.toTypedArray();
          output.delete();
        }
      };
      return { run };
    },
  };
}
