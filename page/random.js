// The random numbers that PyTorch draws on a CPU for `dcgan draw`: see random_stream() and latents() in src/dcgan/gan.

const ROWS_PER_BLOCK = 1000; // of latents: each block has a random stream of its own

/** SHA-256 of an ASCII text shorter than 56 characters, as eight unsigned 32-bit words (FIPS 180-4).
 *  The browser's own needs a secure context, which a file or an http:// page is not. */
function sha256(text) {
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  const fraction = (x) => (x - Math.floor(x)) * 2 ** 32;
  const constants = Uint32Array.from(primes, (p) => fraction(Math.cbrt(p)));
  const hash = Uint32Array.from(primes.slice(0, 8), (p) => fraction(Math.sqrt(p)));

  const w = new Uint32Array(64);
  const bytes = [...text].map((c) => c.charCodeAt(0)).concat(0x80);
  bytes.forEach((byte, i) => (w[i >> 2] |= byte << (24 - 8 * (i & 3))));
  w[15] = 8 * text.length;

  const rotate = (x, n) => (x >>> n) | (x << (32 - n));
  for (let i = 16; i < 64; i++) {
    const s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >>> 3);
    const s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >>> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  let [a, b, c, d, e, f, g, h] = hash;
  for (let i = 0; i < 64; i++) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + constants[i] + w[i]) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  return [a, b, c, d, e, f, g, h].map((value, i) => (hash[i] + value) >>> 0);
}

/** The Mersenne Twister MT19937 (Matsumoto and Nishimura 1998): a function that returns 32 random bits. */
function mersenneTwister(seed) {
  const state = new Uint32Array(624);
  state[0] = seed;
  for (let i = 1; i < 624; i++) {
    const before = state[i - 1] ^ (state[i - 1] >>> 30);
    state[i] = Math.imul(1812433253, before) + i;
  }
  let next = 624;
  return () => {
    if (next === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      next = 0;
    }
    let y = state[next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

/** `count` values from N(0, 1), as torch.randn: Box and Muller's method on 8 pairs at a time. When `count` is no
 *  multiple of 16, the last 16 values are drawn once more. */
function normals(count, random) {
  const values = new Float32Array(count);
  const fill = (start, uniform) => {
    for (let i = 0; i < 8; i++) {
      const radius = Math.sqrt(-2 * Math.log(1 - uniform[i]));
      const angle = 2 * Math.PI * uniform[i + 8];
      values[start + i] = radius * Math.cos(angle);
      values[start + i + 8] = radius * Math.sin(angle);
    }
  };
  const uniforms = (n) => {
    const drawn = new Float32Array(n);
    for (let i = 0; i < n; i++) drawn[i] = (random() & 0xffffff) / 2 ** 24;
    return drawn;
  };
  const all = uniforms(count);
  for (let start = 0; start + 16 <= count; start += 16) fill(start, all.subarray(start, start + 16));
  if (count % 16) fill(count - 16, uniforms(16));
  return values;
}

/** Row `index` of the latents of `seed`: `size` values from N(0, 1). */
function latentRow(seed, index, size) {
  const block = Math.floor(index / ROWS_PER_BLOCK);
  const key = `(${seed}, 'sample', (${block},))`; // Python's repr() of the stream's identity
  if (latentRow.key !== key) {
    latentRow.key = key; // the last block is kept: the digits of a number are neighbors in it
    latentRow.block = normals(ROWS_PER_BLOCK * size, mersenneTwister(sha256(key)[1]));
  }
  const start = (index % ROWS_PER_BLOCK) * size;
  return latentRow.block.slice(start, start + size);
}
