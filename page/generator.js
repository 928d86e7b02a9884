// The generator of src/dcgan/gan/networks.py: latents and a label to a drawing. Feature maps are arrays of height x
// width x channels. Sums are in float64, so that only PyTorch's own rounding errors remain between the two.

const BATCH_NORM_EPSILON = 1e-5;

function bytesOfBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

/** IEEE half-precision numbers, little-endian, as float32. */
function floatsOfHalves(bytes) {
  const floats = new Float32Array(bytes.length / 2);
  for (let i = 0; i < floats.length; i++) {
    const half = bytes[2 * i] | (bytes[2 * i + 1] << 8);
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    const size = exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction;
    floats[i] = half >> 15 ? -size : size;
  }
  return floats;
}

class Generator {
  /** `model` has `latent_size`, `selectors`, `channels` (at 4x4, 7x7, 14x14 and 28x28 pixels), the constants of the
   *  rendering and `tensors`, a list of [name, shape]; `weights` has their values one after another. */
  constructor(model, weights) {
    this.model = model;
    const tensors = {};
    let start = 0;
    for (const [name, shape] of model.tensors) {
      const length = shape.reduce((a, b) => a * b, 1);
      tensors[name] = weights.subarray(start, (start += length));
    }
    this.dense = tensors["dense.weight"];
    this.norms = [1, 2, 3, 4].map((i) => foldedNorm(tensors, `norm${i}`));
    const channels = [...model.channels, 1];
    this.ups = [1, 2, 3, 4].map((i) => {
      const [inputs, outputs] = [channels[i - 1], channels[i]];
      const kernel = i === 1 ? 3 : 4;
      return { inputs, outputs, kernel, weight: tapsFirst(tensors[`up${i}.weight`], inputs, outputs, kernel) };
    });
    this.bias = tensors["up4.bias"][0];
  }

  /** Feature maps after each block, in the order that they are made; the last are the logits on the canvas, 56x56. */
  featureMaps(latent, label) {
    let size = 4;
    let x = this.denseLayer(latent, label);
    const maps = [];
    this.ups.forEach((up, i) => {
      normalizeAndRectify(x, this.norms[i]);
      maps.push({ size, channels: up.inputs, values: x });
      x = transposedConvolution(x, size, up);
      size = up.kernel === 3 ? 2 * size - 1 : 2 * size;
    });
    maps.push({ size, channels: 1, values: x.map((value) => value + this.bias) });
    return maps;
  }

  /** A digit: gray levels, 0 to 255, of 28x28 pixels, with what they were made from. */
  draw(latent, label) {
    const maps = this.featureMaps(latent, label);
    return { label, maps, ...renderDigit(maps.at(-1).values, latent[1], this.model) };
  }

  denseLayer(latent, label) {
    const inputs = latent.length - this.model.selectors;
    const columns = this.dense.length / (16 * this.model.channels[0]);
    const out = new Float64Array(this.dense.length / columns);
    for (let o = 0, at = 0; o < out.length; o++, at += columns) {
      let sum = this.dense[at + inputs + label];
      for (let i = 0; i < inputs; i++) sum += this.dense[at + i] * latent[this.model.selectors + i];
      out[o] = sum;
    }
    return out;
  }
}

/** BatchNorm with its stored statistics: one factor and one term for each channel. */
function foldedNorm(tensors, name) {
  const scale = Float64Array.from(tensors[`${name}.weight`], (weight, c) => {
    return weight / Math.sqrt(tensors[`${name}.running_var`][c] + BATCH_NORM_EPSILON);
  });
  const shift = scale.map((factor, c) => tensors[`${name}.bias`][c] - tensors[`${name}.running_mean`][c] * factor);
  return { scale, shift };
}

function normalizeAndRectify(x, { scale, shift }) {
  for (let i = 0; i < x.length; ) {
    for (let c = 0; c < scale.length; c++, i++) x[i] = Math.max(0, x[i] * scale[c] + shift[c]);
  }
}

/** PyTorch's (inputs, outputs, rows, columns) as (rows, columns, inputs, outputs), which the innermost loop reads in
 *  order. */
function tapsFirst(weight, inputs, outputs, kernel) {
  const taps = kernel * kernel;
  const sorted = new Float64Array(weight.length);
  for (let i = 0; i < inputs; i++) {
    for (let o = 0; o < outputs; o++) {
      for (let t = 0; t < taps; t++) sorted[(t * inputs + i) * outputs + o] = weight[(i * outputs + o) * taps + t];
    }
  }
  return sorted;
}

/** Stride 2, padding 1. */
function transposedConvolution(x, size, { inputs, outputs, kernel, weight }) {
  const side = 2 * (size - 1) - 2 + kernel;
  const out = new Float64Array(side * side * outputs);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const from = (row * size + column) * inputs;
      for (let tap = 0; tap < kernel * kernel; tap++) {
        const y = 2 * row - 1 + Math.floor(tap / kernel);
        const z = 2 * column - 1 + (tap % kernel);
        if (y < 0 || z < 0 || y >= side || z >= side) continue;
        const to = (y * side + z) * outputs;
        for (let i = 0; i < inputs; i++) {
          const value = x[from + i];
          if (value === 0) continue; // after ReLU, about half of them
          const w = (tap * inputs + i) * outputs;
          for (let o = 0; o < outputs; o++) out[to + o] += value * weight[w + o];
        }
      }
    }
  }
  return out;
}
