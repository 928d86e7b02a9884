"""Checkpoints of a training: written whole, checked when read, the two newest kept.

A checkpoint file is one line of magic and SHA-256, then a safetensors payload whose metadata holds the rest as JSON.
Reading one executes nothing.
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from dcgan.support.files import write_atomic

MAGIC = b"dcgan-checkpoint-1 "
KEPT = 2  # the newest may be torn by a failing disk; the one before it then serves
_LENGTH_AT = slice(0, 8)  # safetensors: length of the JSON header, little-endian


@dataclass(frozen=True)
class Checkpoint:
    tensors: dict[str, Tensor]
    notes: dict[str, Any]  # what is no tensor: JSON values


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], notes: dict[str, Any]) -> Path:
    """Write `checkpoint-<step>` into `folder` and drop all but the two newest.

    Raises:
        UserError: the disk is full or the folder cannot be written; the checkpoints there stay as they are.
    """
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    payload = save(ready, metadata={"notes": json.dumps(notes, allow_nan=False)})
    path = folder / f"checkpoint-{step:09d}"
    write_atomic(path, MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
    for old in sorted(folder.glob("checkpoint-*"))[:-KEPT]:
        old.unlink()
    return path


def load_newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint in `folder` whose checksum is right, or None. A damaged one is said and passed over."""
    for path in sorted(folder.glob("checkpoint-*"), reverse=True):
        checkpoint = _read(path)
        if checkpoint is not None:
            return checkpoint
        print(f"warning: {path} is damaged (its checksum is wrong); trying the one before it", file=sys.stderr)
    return None


def _read(path: Path) -> Checkpoint | None:
    head, _, payload = path.read_bytes().partition(b"\n")
    if head != MAGIC + hashlib.sha256(payload).hexdigest().encode():
        return None
    length = int.from_bytes(payload[_LENGTH_AT], "little")
    metadata = json.loads(payload[8 : 8 + length])["__metadata__"]
    return Checkpoint(load(payload), json.loads(metadata["notes"]))
