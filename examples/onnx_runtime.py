"""Draws with generator.onnx, which `dcgan onnx` writes. Needs onnxruntime, neither PyTorch nor this package."""

import numpy
import onnxruntime

session = onnxruntime.InferenceSession("generator.onnx")
labels = numpy.array([2, 0, 2, 6])
size = session.get_inputs()[0].shape[1]
latents = numpy.random.default_rng(7).standard_normal((4, size), dtype=numpy.float32)
images = session.run(None, {"latents": latents, "labels": labels})[0]  # (4, 1, 28, 28) in [-1, 1]

for row in images[:, 0].swapaxes(0, 1).reshape(28, -1)[::2]:  # the four side by side, every other row
    print("".join(" .:*#"[int(4.99 * (value + 1) / 2)] for value in row))
