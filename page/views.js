// Digits and feature maps on canvases.

/** A digit as ink in the canvas's text color, with nothing behind it. */
function paintInk(canvas, drawn) {
  const alpha = inkAlpha(drawn);
  const image = new ImageData(INK_SIZE, INK_SIZE);
  const [red, green, blue] = colorOf(canvas);
  for (let i = 0; i < alpha.length; i++) {
    image.data[4 * i] = red;
    image.data[4 * i + 1] = green;
    image.data[4 * i + 2] = blue;
    image.data[4 * i + 3] = alpha[i];
  }
  canvas.width = canvas.height = INK_SIZE;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function colorOf(element) {
  return getComputedStyle(element).color.match(/\d+(\.\d+)?/g).map(Number);
}

/** The first channels of a feature map, as many as fit into a square of tiles; each in its own range of values. */
function paintFeatureMap(canvas, { size, channels, values }, tiles) {
  const side = tiles * (size + 1) - 1;
  const levels = new Uint8Array(side * side);
  for (let tile = 0; tile < Math.min(channels, tiles * tiles); tile++) {
    const channel = Float64Array.from({ length: size * size }, (_, i) => values[i * channels + tile]);
    const least = Math.min(...channel);
    const range = Math.max(...channel) - least || 1;
    const corner = Math.floor(tile / tiles) * (size + 1) * side + (tile % tiles) * (size + 1);
    channel.forEach((value, i) => {
      levels[corner + Math.floor(i / size) * side + (i % size)] = 30 + (225 * (value - least)) / range;
    });
  }
  paintLevels(canvas, { levels, width: side, height: side });
}

/** The canvas of 56x56, from 0 (no ink) to 255. */
function paintDrawing(canvas, { size, values }) {
  const levels = Uint8Array.from(values, (logit) => 255 * Math.min(1, Math.max(0, 0.5 + 4 * logit)));
  paintLevels(canvas, { levels, width: size, height: size });
}

/** Latent values as bars up and down from the middle. */
function paintLatent(canvas, latent) {
  const [width, height] = [2 * latent.length, 56];
  const levels = new Uint8Array(width * height);
  latent.forEach((value, i) => {
    const end = Math.round(height / 2 - Math.max(-2.5, Math.min(2.5, value)) * 11);
    for (let row = Math.min(end, height / 2); row <= Math.max(end, height / 2); row++) {
      levels[row * width + 2 * i] = 230;
    }
  });
  paintLevels(canvas, { levels, width, height });
}
