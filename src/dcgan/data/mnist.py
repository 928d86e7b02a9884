"""MNIST's files: the IDX format read and written, the four originals verified."""

import os
import struct
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from dcgan.support.errors import UserError
from dcgan.support.files import sha256, write_atomic

# SHA-256 of the four original files, uncompressed (LeCun, Cortes and Burges, 1998).
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
LARGEST_FILE = 16 + 60_000 * 28 * 28  # bytes: the training images

_PREFIX = {"train": "train", "test": "t10k"}
# Two zero bytes, 8 for unsigned bytes, the number of dimensions: http://yann.lecun.com/exdb/mnist/
_MAGIC = {0x00000801: 1, 0x00000803: 3}


def load_split(folder: str | os.PathLike, split: Literal["train", "test"]) -> tuple[np.ndarray, np.ndarray]:
    """Load MNIST's training or test half, its files verified first.

    Returns:
        images uint8 [N, 28, 28], 0 paper to 255 ink, and labels uint8 [N], 0 to 9;
        N is 60,000 for "train", 10,000 for "test".

    Raises:
        UserError: a file is missing, truncated or altered.
    """
    paths = [Path(folder) / f"{_PREFIX[split]}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    for path in paths:
        if found := problem(path):
            raise UserError(f"{path} {found}; run `dvc repro download`")
    return read_idx(paths[0]), read_idx(paths[1])


def problem(path: str | os.PathLike) -> str | None:
    """What is wrong with one of MNIST's four files, known by its name: a short clause, or None when it is whole.

    Raises:
        UserError: the file is there but cannot be read.
    """
    path = Path(path)
    if not path.exists():
        return "is missing"
    return mismatch(path.name, path.stat().st_size, sha256(path))


def mismatch(name: str, size: int, digest: str) -> str | None:
    """A clause on a file of `size` bytes that should be MNIST's `name`, or None when its SHA-256 says that it is."""
    if digest == FILES[name]:
        return None
    return f"is truncated or altered ({size:,} bytes, SHA-256 {digest[:8]}..., not {FILES[name][:8]}...)"


def encode_idx(array: np.ndarray) -> bytes:
    """The IDX file of images, uint8 [N, height, width], or of labels, uint8 [N]."""
    if array.dtype != np.uint8 or array.ndim not in _MAGIC.values():
        raise ValueError(f"IDX files here hold uint8 in 1 or 3 dimensions, not {array.dtype} in {array.ndim}")
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def write_idx(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write images, uint8 [N, height, width], or labels, uint8 [N], in MNIST's own format, atomically.

    Raises:
        UserError: the file cannot be written.
    """
    write_atomic(path, encode_idx(array))


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Read an IDX file: images as uint8 [N, height, width] or labels as uint8 [N].

    The header is held against the file's size before memory is asked for.

    Raises:
        UserError: the file is missing or unreadable, is no IDX file of images or labels, is truncated, or goes on
            after its last element.
    """
    try:
        with open(path, "rb") as stream:
            shape = _read_header(stream, path)
            return np.fromfile(stream, np.uint8).reshape(shape)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _read_header(stream: BinaryIO, path: str | os.PathLike) -> tuple[int, ...]:
    """The shape that the header states, once it is sure that exactly so many bytes follow."""
    start = stream.read(4)
    magic = int.from_bytes(start, "big")
    if len(start) < 4 or magic not in _MAGIC:
        raise UserError(
            f"{path} is no IDX file: it starts with 0x{start.hex()}, "
            "not with 0x00000801 (labels) or 0x00000803 (images); a .gz file must be unpacked first"
        )
    rank = _MAGIC[magic]
    sizes = stream.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise UserError(f"{path} is truncated: it ends within its header of {4 + 4 * rank} bytes; make it anew")
    shape = struct.unpack(f">{rank}I", sizes)
    stated, held = int(np.prod(shape, dtype=object)), os.fstat(stream.fileno()).st_size - stream.tell()
    if stated != held:
        fault = "is truncated" if held < stated else "has trailing bytes"
        raise UserError(
            f"{path} {fault}: its header states {' x '.join(map(str, shape))} = {stated:,} bytes of data, "
            f"{held:,} follow; make it anew"
        )
    return shape
