"""The formats of a data set: how a shard becomes files, and how its files are checked later.

Nothing here depends on the time or on names of this machine: the same digits give the same bytes.
"""

import hashlib
import io
import json
import os
import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from dcgan.constants import CLASSES
from dcgan.dataset.digits import Split
from dcgan.dataset.shards import Record, Shard, explain_write_errors, replace_file
from dcgan.support.files import sha256

PIXELS = 28 * 28


class Format(Protocol):
    bytes_per_digit: int  # on the disk, at least

    def prepare(self, images: np.ndarray) -> Sequence:
        """What of the encoding needs no other block: called by several threads. uint8 (1000, 28, 28) in."""

    def write(self, shard: Shard, parts: list[Sequence], labels: np.ndarray) -> dict[str, str]:
        """Write a shard from its prepared blocks and labels, uint8 (N,); SHA-256 of what was written, by relative path."""

    def is_intact(self, shard: Shard, files: dict[str, str]) -> bool:
        """Whether what `write` wrote is still there."""

    def finish(self, shards: list[Shard], record: Record) -> Iterator[tuple[str, str]]:
        """Complete the files after the last shard; SHA-256 and relative path of each."""


class _FilePerShard:
    """A shard is a file of its own."""

    suffix: str

    def __init__(self, folder: Path, counts: dict[Split, int]) -> None:
        self.folder = folder

    def prepare(self, images: np.ndarray) -> Sequence:
        return images

    def encode(self, parts: list[Sequence], labels: np.ndarray) -> bytes:
        raise NotImplementedError

    def write(self, shard: Shard, parts: list[Sequence], labels: np.ndarray) -> dict[str, str]:
        name, data = f"data/{shard.name}.{self.suffix}", self.encode(parts, labels)
        replace_file(self.folder / name, data)
        return {name: hashlib.sha256(data).hexdigest()}

    def is_intact(self, shard: Shard, files: dict[str, str]) -> bool:
        paths = ((self.folder / name, digest) for name, digest in files.items())
        return all(path.is_file() and sha256(path) == digest for path, digest in paths)

    def finish(self, shards: list[Shard], record: Record) -> Iterator[tuple[str, str]]:
        for shard in shards:
            yield from ((digest, name) for name, digest in (record.files(shard) or {}).items())


class Npz(_FilePerShard):
    """Arrays `images`, uint8 (N, 28, 28), and `labels`, uint8 (N,), not compressed."""

    suffix = "npz"
    bytes_per_digit = PIXELS + 1

    def encode(self, parts: list[Sequence], labels: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, images=np.concatenate(parts), labels=labels)
        return buffer.getvalue()


class Parquet(_FilePerShard):
    """Columns `image`, PNG, and `label`, with the metadata by which Hugging Face `datasets` knows their types."""

    suffix = "parquet"
    bytes_per_digit = 250

    def __init__(self, folder: Path, counts: dict[Split, int]) -> None:
        super().__init__(folder, counts)
        import pyarrow

        names = [str(digit) for digit in range(CLASSES)]
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        self.schema = pyarrow.schema(
            [("image", image), ("label", pyarrow.int64())],
            metadata={"huggingface": json.dumps({"info": {"features": features}})},
        )

    def prepare(self, images: np.ndarray) -> list[bytes]:
        return [png_bytes(image) for image in images]

    def encode(self, parts: list[Sequence], labels: np.ndarray) -> bytes:
        import pyarrow
        import pyarrow.parquet

        columns = {"image": [{"bytes": data, "path": None} for data in chain(*parts)], "label": labels.astype(np.int64)}
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(columns, self.schema), buffer)
        return buffer.getvalue()


class Png(_FilePerShard):
    """`train/<digit>/<row>.png` and `test/...`: a file for each digit in a folder for each class."""

    bytes_per_digit = 4096  # a block of most file systems

    def prepare(self, images: np.ndarray) -> list[bytes]:
        return [png_bytes(image) for image in images]

    def write(self, shard: Shard, parts: list[Sequence], labels: np.ndarray) -> dict[str, str]:
        files = {}
        for row, (data, label) in enumerate(zip(chain(*parts), labels, strict=True), start=shard.first):
            name = f"{shard.split}/{label}/{row:010d}.png"
            replace_file(self.folder / name, data, durable=False)
            files[name] = hashlib.sha256(data).hexdigest()
        return files


class Idx:
    """MNIST's own four files, where torchvision looks for them. A shard is a stretch of each of two growing files.

    A file has its final name once it is complete. Its shards are written in place: what the record does not have is
    written again.
    """

    bytes_per_digit = PIXELS + 1

    def __init__(self, folder: Path, counts: dict[Split, int]) -> None:
        self.folder, self.counts = folder, counts

    def prepare(self, images: np.ndarray) -> Sequence:
        return images

    def write(self, shard: Shard, parts: list[Sequence], labels: np.ndarray) -> dict[str, str]:
        files = {}
        for name, data in zip(_idx_names(shard.split), (np.concatenate(parts), labels), strict=True):
            header = self._header(shard.split, data.shape[1:])
            content, offset = data.tobytes(), len(header) + shard.first * data[:1].nbytes
            path = self._path(name)
            with explain_write_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as stream:
                    stream.write(header)
                    stream.seek(offset)
                    stream.write(content)
            files[name] = hashlib.sha256(content).hexdigest()
        return files

    def is_intact(self, shard: Shard, files: dict[str, str]) -> bool:
        for name, shape in zip(_idx_names(shard.split), ((28, 28), ()), strict=True):
            size, header = int(np.prod(shape, dtype=int)), self._header(shard.split, shape)
            path = self._path(name)
            if not path.is_file():
                return False
            with open(path, "rb") as stream:
                same_header = stream.read(len(header)) == header
                stream.seek(len(header) + shard.first * size)
                if not same_header or hashlib.sha256(stream.read(shard.rows * size)).hexdigest() != files[name]:
                    return False
        return True

    def finish(self, shards: list[Shard], record: Record) -> Iterator[tuple[str, str]]:
        for split, count in self.counts.items():
            for name, size in zip(_idx_names(split), (16 + count * PIXELS, 8 + count), strict=True):
                path = self._path(name)
                with explain_write_errors(path), open(path, "r+b") as stream:
                    stream.truncate(size)
                    os.fsync(stream.fileno())
                yield sha256(path), name
                path.replace(self.folder / name)

    def _path(self, name: str) -> Path:
        """Where the file is now: under its own name when it is complete."""
        path = self.folder / name
        return path if path.exists() else path.with_name(f".{path.name}.unfinished")

    def _header(self, split: Split, shape: tuple[int, ...]) -> bytes:
        return struct.pack(f">{2 + len(shape)}I", 0x0801 + len(shape), self.counts[split], *shape)


def _idx_names(split: Split) -> tuple[str, str]:
    prefix = {"train": "train", "test": "t10k"}[split]
    return f"MNIST/raw/{prefix}-images-idx3-ubyte", f"MNIST/raw/{prefix}-labels-idx1-ubyte"


def png_bytes(image: np.ndarray) -> bytes:
    """A digit, uint8 (28, 28), as PNG, in its own size."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


FORMATS = {"idx": Idx, "npz": Npz, "parquet": Parquet, "png": Png}
