// Pictures and files of digits, as `dcgan draw` and the sample stage write them.

const MARGIN = 3; // columns left out on both sides: the outer four pixels of an MNIST digit are empty
const TIGHT_WIDTH = IMAGE_SIZE - 2 * MARGIN;

/** Digits side by side as in handwriting: gray levels of one line. */
function lineOfDigits(images) {
  const width = images.length * TIGHT_WIDTH;
  const levels = new Uint8Array(width * IMAGE_SIZE);
  images.forEach((image, i) => {
    for (let row = 0; row < IMAGE_SIZE; row++) {
      const part = image.subarray(row * IMAGE_SIZE + MARGIN, (row + 1) * IMAGE_SIZE - MARGIN);
      levels.set(part, row * width + i * TIGHT_WIDTH);
    }
  });
  return { levels, width, height: IMAGE_SIZE };
}

/** Paint gray levels, each pixel as `magnification` x `magnification` dots. */
function paintLevels(canvas, { levels, width, height }, magnification = 1) {
  canvas.width = width * magnification;
  canvas.height = height * magnification;
  const image = new ImageData(canvas.width, canvas.height);
  for (let i = 0; i < canvas.width * canvas.height; i++) {
    const row = Math.floor(Math.floor(i / canvas.width) / magnification);
    const column = Math.floor((i % canvas.width) / magnification);
    image.data.fill(levels[row * width + column], 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** The PNG that `dcgan draw` writes: the same pixels, twice as large. */
function pngOf(images) {
  const canvas = document.createElement("canvas");
  paintLevels(canvas, lineOfDigits(images), 2);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** MNIST's own format: a header of big-endian sizes, then the bytes. */
function idxFile(sizes, parts) {
  const header = new DataView(new ArrayBuffer(4 + 4 * sizes.length));
  header.setUint32(0, 0x0800 + sizes.length);
  sizes.forEach((size, i) => header.setUint32(4 + 4 * i, size));
  return new Blob([header, ...parts], { type: "application/octet-stream" });
}

function idxImages(images) {
  return idxFile([images.length, IMAGE_SIZE, IMAGE_SIZE], images);
}

function idxLabels(labels) {
  return idxFile([labels.length], [Uint8Array.from(labels)]);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
