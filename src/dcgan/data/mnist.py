"""MNIST's files: reading and writing the IDX format, verifying the four originals."""

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
MAX_FILE_SIZE = 16 + 60_000 * 28 * 28  # bytes: the training images

_PREFIX = {"train": "train", "test": "t10k"}
# Two zero bytes, 8 for unsigned bytes, the number of dimensions: http://yann.lecun.com/exdb/mnist/
_MAGIC = {0x00000801: 1, 0x00000803: 3}


def load_split(folder: str | os.PathLike, split: Literal["train", "test"]) -> tuple[np.ndarray, np.ndarray]:
    """Load MNIST's training or test split, after verifying its files.

    Returns:
        images uint8 [N, 28, 28], 0 (background) to 255 (ink), and labels uint8 [N], 0 to 9;
        N is 60,000 for "train", 10,000 for "test".

    Raises:
        UserError: a file is missing, truncated or altered.
    """
    paths = [Path(folder) / f"{_PREFIX[split]}-{part}-ubyte" for part in ("images-idx3", "labels-idx1")]
    for path in paths:
        if fault := file_fault(path):
            raise UserError(f"{path} {fault}; run `dvc repro download`")
    return read_idx(paths[0]), read_idx(paths[1])


def file_fault(path: str | os.PathLike) -> str | None:
    """What is wrong with one of MNIST's four files, which its name identifies: a short clause, or None if it is intact.

    Raises:
        UserError: the file exists but cannot be read.
    """
    path = Path(path)
    if not path.exists():
        return "is missing"
    return checksum_fault(path.name, path.stat().st_size, sha256(path))


def checksum_fault(name: str, size: int, digest: str) -> str | None:
    """A clause describing how a file of `size` bytes differs from MNIST's `name`, or None if its SHA-256 matches."""
    if digest == FILES[name]:
        return None
    return f"is truncated or altered ({size:,} bytes, SHA-256 {digest[:8]}..., not {FILES[name][:8]}...)"


def encode_idx(array: np.ndarray) -> bytes:
    """The bytes of an IDX file that holds images, uint8 [N, height, width], or labels, uint8 [N].

    Raises:
        ValueError: another type or number of dimensions.
    """
    if array.dtype != np.uint8 or array.ndim not in _MAGIC.values():
        raise ValueError(f"IDX files here hold uint8 in 1 or 3 dimensions, not {array.dtype} in {array.ndim}")
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def write_idx(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write images, uint8 [N, height, width], or labels, uint8 [N], in MNIST's own format, atomically.

    Raises:
        ValueError: another type or number of dimensions.
        UserError: the file cannot be written.
    """
    write_atomic(path, encode_idx(array))


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Read an IDX file: images as uint8 [N, height, width] or labels as uint8 [N].

    The header is compared with the file's size before any memory is allocated.

    Raises:
        UserError: the file is missing or unreadable, is not an IDX file of images or labels, is truncated, or has
            trailing bytes.
    """
    try:
        with open(path, "rb") as stream:
            shape = _read_header(stream, path)
            return np.fromfile(stream, np.uint8).reshape(shape)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _read_header(stream: BinaryIO, path: str | os.PathLike) -> tuple[int, ...]:
    """The shape in the header, after checking that exactly as many bytes of data follow."""
    start = stream.read(4)
    magic = int.from_bytes(start, "big")
    if len(start) < 4 or magic not in _MAGIC:
        raise UserError(
            f"{path} is not an IDX file: it starts with 0x{start.hex()}, "
            "not with 0x00000801 (labels) or 0x00000803 (images); a .gz file must be unpacked first"
        )
    rank = _MAGIC[magic]
    sizes = stream.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise UserError(f"{path} is truncated: it ends within its header of {4 + 4 * rank} bytes; create it again")
    shape = struct.unpack(f">{rank}I", sizes)
    expected = int(np.prod(shape, dtype=object))  # Python integers: forged sizes would overflow 64 bits
    found = os.fstat(stream.fileno()).st_size - stream.tell()
    if found != expected:
        fault = "is truncated" if found < expected else "has trailing bytes"
        raise UserError(
            f"{path} {fault}: its header promises {' x '.join(map(str, shape))} = {expected:,} bytes of data, "
            f"but {found:,} follow; create it again"
        )
    return shape
