// The drawing as smooth ink at any size: what the pixels are made from, before it is scaled down to 28x28.

const INK_SCALE = 8; // dots per pixel of the digit
const INK_SIZE = INK_SCALE * IMAGE_SIZE;
const SMOOTHING = 1.3; // width of the B-splines in points of the drawing; 1: they pass near every point
const TAPS = 6; // points of the drawing that a spline of this width reaches, at most
const LEVEL = -0.05; // what is above it is ink, from -1 (none) to 1 (full): below the middle, so that thin strokes stay
const EDGE = 2.5; // steepness: ink begins within about one dot

/** Opacity, 0 to 255, of INK_SIZE x INK_SIZE dots: the drawing smoothed by cubic B-splines, and cut at a level. */
function inkAlpha({ maps, placement }) {
  const drawing = Float32Array.from(maps.at(-1).values, (logit) => Math.min(1, Math.max(-1, 8 * logit)));
  const columns = splineTaps(placement.columns);
  const rows = splineTaps(placement.rows);
  const stretched = new Float32Array(CANVAS_SIZE * INK_SIZE);
  for (let y = 0; y < CANVAS_SIZE; y++) {
    for (let x = 0; x < INK_SIZE; x++) {
      let sum = -1; // no ink outside the canvas
      for (let k = x * TAPS; k < (x + 1) * TAPS; k++) {
        sum += columns.weight[k] * (1 + drawing[y * CANVAS_SIZE + columns.index[k]]);
      }
      stretched[y * INK_SIZE + x] = sum;
    }
  }
  const alpha = new Uint8ClampedArray(INK_SIZE * INK_SIZE);
  for (let y = 0; y < INK_SIZE; y++) {
    for (let x = 0; x < INK_SIZE; x++) {
      let sum = -1;
      for (let k = y * TAPS; k < (y + 1) * TAPS; k++) {
        sum += rows.weight[k] * (1 + stretched[rows.index[k] * INK_SIZE + x]);
      }
      alpha[y * INK_SIZE + x] = 127.5 + 255 * EDGE * (sum - LEVEL);
    }
  }
  return alpha;
}

/** For each dot along one axis the points of the drawing that it depends on, and how much: TAPS after TAPS. */
function splineTaps({ first, length, target, offset }) {
  const index = new Uint8Array(INK_SIZE * TAPS);
  const weight = new Float32Array(INK_SIZE * TAPS);
  for (let dot = 0; dot < INK_SIZE; dot++) {
    const center = first + ((dot + 0.5) / INK_SCALE - offset) * (length / target) - 0.5;
    const start = Math.ceil(center - 2 * SMOOTHING);
    let total = 0;
    for (let k = 0; k < TAPS; k++) total += cubicSpline(Math.abs(start + k - center) / SMOOTHING);
    for (let k = 0; k < TAPS; k++) {
      if (start + k < 0 || start + k >= CANVAS_SIZE) continue; // weight 0
      index[dot * TAPS + k] = start + k;
      weight[dot * TAPS + k] = cubicSpline(Math.abs(start + k - center) / SMOOTHING) / total;
    }
  }
  return { index, weight };
}

function cubicSpline(distance) {
  return distance < 1 ? (4 - 6 * distance ** 2 + 3 * distance ** 3) / 6 : Math.max(0, 2 - distance) ** 3 / 6;
}
