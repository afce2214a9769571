// onnxruntime-web on WebAssembly. Its first session starts the engine, which counts as loading.
import { noise } from "./noise.mjs";

export async function open(threads, version) {
  const ort = await import("onnxruntime-web");
  ort.env.wasm.wasmPaths = "/modules/onnxruntime-web/dist/";
  ort.env.wasm.numThreads = threads;
  return {
    name: `onnxruntime-web ${version}`,
    async load(file) {
      const session = await ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
      const feeds = {};
      for (const input of session.inputMetadata) {
        const shape = input.shape.map((side) => (Number.isInteger(side) ? side : 1));
        feeds[input.name] = new ort.Tensor(input.type, noise(input.type, shape), shape);
      }
      return { run: () => session.run(feeds) };
    },
  };
}
