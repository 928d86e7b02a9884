// What is written, in which handwriting, as the page's address and as a command line.

const MOST_DIGITS = 40;
const MOST_SEED = 2 ** 31 - 1;
const QUALITIES = ["slant", "boldness", "width"];
const SLIDER_END = 2.5; // standard deviations

/** `rolled` has the seeds of the digits that were rolled again, by position; the others have `seed`. `walk` is the part
 *  of the way, 0 to 1, from there to the handwriting of the seed `to`. */
function initialState() {
  return { digits: "2026", seed: 1, rolled: {}, slant: 0, boldness: 0, width: 0, to: 8, walk: 0 };
}

function seedOf(state, position) {
  return state.rolled[position] ?? state.seed;
}

/** "7", or one seed for each digit, "7,7,12,7", as in `dcgan draw --seed`. */
function seedList(state) {
  const seeds = [...state.digits].map((_, i) => seedOf(state, i));
  return seeds.every((seed) => seed === state.seed) ? `${state.seed}` : seeds.join(",");
}

function command(state) {
  return `dcgan draw ${state.digits} --seed ${seedList(state)} -o ${state.digits}.png`;
}

/** Whether `dcgan draw` can draw it: that has neither sliders nor walks. */
function isPlain(state) {
  return state.walk === 0 && QUALITIES.every((quality) => state[quality] === 0);
}

/** As "#2026/7", "#2026/7,7,12,7" or "#2026/7/slant=1.5&to=8&walk=0.4". */
function addressOf(state) {
  const more = QUALITIES.filter((quality) => state[quality]).map((quality) => `${quality}=${state[quality]}`);
  if (state.walk) more.push(`to=${state.to}`, `walk=${state.walk}`);
  return `#${state.digits}/${seedList(state)}${more.length ? `/${more.join("&")}` : ""}`;
}

/** The state that an address names; null if it names none. */
function stateOf(address) {
  const found = /^#(\d+)(?:\/(\d+(?:,\d+)*))?(?:\/([a-z].*))?$/.exec(address);
  if (!found || found[1].length > MOST_DIGITS) return null;
  const state = { ...initialState(), digits: found[1] };
  const seeds = (found[2] ?? "1").split(",").map(Number);
  if (seeds.some((seed) => seed > MOST_SEED) || ![1, state.digits.length].includes(seeds.length)) return null;
  state.seed = mostFrequent(seeds);
  seeds.forEach((seed, i) => {
    if (seed !== state.seed) state.rolled[i] = seed;
  });
  const more = new URLSearchParams(found[3] ?? "");
  const number = (name, least, most) => {
    const value = Number(more.get(name) ?? state[name]);
    state[name] = Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : state[name];
  };
  QUALITIES.forEach((quality) => number(quality, -SLIDER_END, SLIDER_END));
  number("to", 0, MOST_SEED);
  number("walk", 0, 1);
  return { ...state, to: Math.floor(state.to) };
}

function mostFrequent(values) {
  const count = (value) => values.filter((other) => other === value).length;
  return values.reduce((best, value) => (count(value) > count(best) ? value : best));
}

/** The latent of each digit. Walks and sliders leave the selectors as they are. */
function latentsOf(state, { latent_size, selectors }, directions) {
  return [...state.digits].map((digit, i) => {
    let latent = latentRow(seedOf(state, i), i, latent_size);
    if (state.walk) latent = between(latent, latentRow(state.to, i, latent_size), state.walk, selectors);
    for (const quality of QUALITIES) {
      const direction = directions[quality][digit];
      for (let k = 0; k < direction.length; k++) latent[selectors + k] += state[quality] * direction[k];
    }
    return latent;
  });
}

/** Spherical interpolation (White 2016): on a straight line the norm would be smaller than that of latents. */
function between(start, end, t, selectors) {
  const tail = [start.subarray(selectors), end.subarray(selectors)];
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const cosine = dot(tail[0], tail[1]) / Math.sqrt(dot(tail[0], tail[0]) * dot(tail[1], tail[1]));
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const part = (t) => (angle < 1e-3 ? t : Math.sin(t * angle) / Math.sin(angle));
  const [a, b] = [part(1 - t), part(t)];
  return start.map((value, i) => (i < selectors ? value : a * value + b * end[i]));
}
