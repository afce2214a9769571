// The same noise in every run, as the values that a tensor of that type holds.
const KINDS = { float32: Float32Array, uint8: Uint8Array, int8: Int8Array, int32: Int32Array };

export function noise(type, shape) {
  if (!KINDS[type]) throw new Error(`the model's input is ${type}; expected ${Object.keys(KINDS).join(", ")}`);
  const values = new KINDS[type](shape.reduce((a, b) => a * b, 1));
  let state = 1;
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = type === "float32" ? state / 2 ** 31 - 1 : state >>> 24;
  }
  return values;
}
