"""Training checkpoints: written atomically, verified when read, the two newest kept.

A checkpoint file is one line with a magic number and a SHA-256, then a safetensors payload whose metadata holds
everything else as JSON. Reading one executes no code.
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
KEPT = 2  # if a failing disk damages the newest, the one before it is used
_HEADER_LENGTH = slice(0, 8)  # safetensors: length of the JSON header, little-endian


@dataclass(frozen=True)
class Checkpoint:
    tensors: dict[str, Tensor]
    notes: dict[str, Any]  # everything else, as JSON values


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], notes: dict[str, Any]) -> Path:
    """Write `checkpoint-<step>` to `folder` and delete all but the two newest.

    Raises:
        UserError: the disk is full or the folder is not writable; existing checkpoints are left as they are.
    """
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    payload = save(ready, metadata={"notes": json.dumps(notes, allow_nan=False)})
    path = folder / f"checkpoint-{step:09d}"
    write_atomic(path, MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
    for old in sorted(folder.glob("checkpoint-*"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint in `folder` with a correct checksum, or None. Damaged ones are skipped with a warning."""
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
    length = int.from_bytes(payload[_HEADER_LENGTH], "little")
    metadata = json.loads(payload[8 : 8 + length])["__metadata__"]
    return Checkpoint(load(payload), json.loads(metadata["notes"]))
