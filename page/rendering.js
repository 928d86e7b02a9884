// From the generator's drawing to a digit as MNIST made them: src/dcgan/gan/rendering.py, without gradients.

const CANVAS_SIZE = 56;
const IMAGE_SIZE = 28;
const DIGIT_SIZE = 20; // pixels of a digit's longer side
const HALF = 127;

/** Gray levels (28x28, 0 to 255) of the logits on the canvas; `white` selects the level of white. The placement of the
 *  drawing, one for each axis, is returned for `inkAlpha`. */
function renderDigit(logits, white, { white_bounds, darkest_white }) {
  const ink = logits.map((logit) => Math.min(1, Math.max(0, 0.5 + 4 * logit)));
  const placement = placeDrawing(ink);
  const level = darkest_white + white_bounds.filter((bound) => white > bound).length;
  const rows = resampling(placement.rows);
  const columns = resampling(placement.columns);
  const levels = new Uint8Array(IMAGE_SIZE * IMAGE_SIZE);
  for (let row = 0; row < IMAGE_SIZE; row++) {
    const line = new Float64Array(CANVAS_SIZE);
    for (const [y, part] of rows[row]) {
      for (let x = 0; x < CANVAS_SIZE; x++) line[x] += part * ink[y * CANVAS_SIZE + x];
    }
    for (let column = 0; column < IMAGE_SIZE; column++) {
      const value = columns[column].reduce((sum, [x, part]) => sum + part * line[x], 0);
      levels[row * IMAGE_SIZE + column] = Math.min(255, Math.max(0, Math.round(value * level)));
    }
  }
  return { levels, placement };
}

/** Where the drawing is on the canvas and where it goes: {rows, columns}, each {first, length, target, offset}. */
function placeDrawing(ink) {
  const empty = () => ({ rows: new Float64Array(CANVAS_SIZE), columns: new Float64Array(CANVAS_SIZE) });
  const masses = empty();
  const darkest = empty();
  for (let row = 0; row < CANVAS_SIZE; row++) {
    for (let column = 0; column < CANVAS_SIZE; column++) {
      const level = Math.round(255 * ink[row * CANVAS_SIZE + column]);
      masses.rows[row] += level;
      masses.columns[column] += level;
      darkest.rows[row] = Math.max(darkest.rows[row], level);
      darkest.columns[column] = Math.max(darkest.columns[column], level);
    }
  }
  const rows = extent(darkest.rows);
  const columns = extent(darkest.columns);
  const longer = Math.max(rows.length, columns.length);
  return { rows: placeAxis(masses.rows, rows, longer), columns: placeAxis(masses.columns, columns, longer) };
}

function extent(darkest) {
  const first = darkest.findIndex((level) => level > HALF);
  if (first < 0) return { first: 0, length: CANVAS_SIZE };
  return { first, length: darkest.findLastIndex((level) => level > HALF) - first + 1 };
}

function placeAxis(mass, { first, length }, longer) {
  const target = Math.max(1, Math.floor((2 * DIGIT_SIZE * length + longer) / (2 * longer)));
  const total = Math.max(1, mass.reduce((a, b) => a + b, 0));
  const moment = mass.reduce((sum, value, i) => sum + value * i, 0);
  // The center of mass, in pixels from the digit's first one, as a fraction of whole numbers below 2**53.
  const numerator = (2 * (moment - first * total) + total) * target - total * length;
  const denominator = 2 * total * length;
  const offset = Math.floor((29 * denominator - 2 * numerator) / (2 * denominator));
  return { first, length, target, offset: Math.min(Math.max(0, offset), IMAGE_SIZE - target) };
}

/** For each of 28 pixels the list of [index on the canvas, part of the pixel that it covers]. */
function resampling({ first, length, target, offset }) {
  const scale = length / target;
  return Array.from({ length: IMAGE_SIZE }, (_, pixel) => {
    const start = first + (pixel - offset) * scale;
    const parts = [];
    for (let i = Math.max(0, Math.floor(start)); i < Math.min(CANVAS_SIZE, start + scale); i++) {
      parts.push([i, (Math.min(start + scale, i + 1) - Math.max(start, i)) / scale]);
    }
    return parts;
  });
}
