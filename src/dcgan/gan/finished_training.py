"""A training run that is finished, but whose outputs no dvc.lock records yet.

DVC writes dvc.lock about half a second after the trainer has ended. If it is killed in between, its next run deletes
the outputs and starts the stage again. So a training run stays in its session's folder when it is finished: the last
checkpoint, the id of the run log, and a note (`finished.json`). A stage that finds it there writes the same outputs
from the checkpoint within seconds, into the same run log.

But `dvc repro -f` must train again: outputs that are only copied would prove nothing. A stage therefore uses a finished
training only if no dvc.lock recorded it before the stage was started:

- neither the one of the stage's own workspace, which records it if it contains the generator's MD5,
- nor the one of the workspace that finished the training (queued experiments have one each), which records it if it
  contains the MD5 or was written after the training finished. A workspace that is gone counts as one that recorded it.

A stage that was already running by then has waited for the training, or was about to: it was not forced, because DVC's
run cache could not yet have the outputs.
"""

import hashlib
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from dcgan.paths import GENERATOR
from dcgan.support.errors import UserError
from dcgan.support.files import read_yaml, write_json

DVC_LOCK = "dvc.lock"
NOTE = "finished.json"
GRACE_S = 60.0  # a stage that was started earlier than that has long locked its training


@dataclass(frozen=True)
class FinishedTraining:
    workspace: Path  # where the outputs were written last
    generator_md5: str
    finished: float  # seconds since 1970

    def is_recorded(self, before: float) -> bool:
        """Whether its workspace's dvc.lock recorded it before that moment (seconds since 1970)."""
        if not self.workspace.exists():
            return self.finished < before
        lock = self.workspace / DVC_LOCK
        try:
            written = lock.stat().st_mtime
        except FileNotFoundError:
            return False
        return written < before and (written > self.finished or self.is_recorded_in(self.workspace))

    def is_recorded_in(self, workspace: Path) -> bool:
        """Whether the dvc.lock of this workspace contains the generator."""
        return self.generator_md5 in _recorded_md5s(workspace / DVC_LOCK)


def note_finished(folder: Path, workspace: Path) -> None:
    """Note in the session's folder that the outputs in `workspace` are complete."""
    note = {"workspace": str(workspace.resolve()), "generator_md5": _md5(workspace / GENERATOR)}
    write_json(folder / NOTE, note)


def is_finished(folder: Path) -> bool:
    """Whether the training in a session's folder is finished."""
    return (folder / NOTE).exists()


def read_finished(folder: Path) -> FinishedTraining:
    """The finished training in a session's folder.

    Raises:
        UserError: the note is damaged.
    """
    path = folder / NOTE
    try:
        note = json.loads(path.read_text())
        return FinishedTraining(Path(note["workspace"]), str(note["generator_md5"]), path.stat().st_mtime)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}); remove it and its checkpoints: dcgan clean --yes"
        ) from error


def is_usable(finished: FinishedTraining, workspace: Path) -> bool:
    """Whether this stage may use the finished training instead of training; see the rule above.

    Never for a stage that was not started by DVC: it did not end because of a DVC that was killed.
    """
    if "DVC_STAGE" not in os.environ or finished.is_recorded_in(workspace):
        return False
    is_own = finished.workspace == workspace.resolve()  # DVC writes its dvc.lock only between stages
    return not finished.is_recorded(before=math.inf if is_own else psutil.Process().create_time())


def is_obsolete(finished: FinishedTraining) -> bool:
    """Whether no stage can use it any more."""
    return finished.is_recorded(before=time.time() - GRACE_S)


def _recorded_md5s(lock: Path) -> set[str]:
    """MD5s of the outputs in a dvc.lock; none if there is no such file, or if a kill left half of one."""
    try:
        stages = read_yaml(lock)["stages"]
        return {out["md5"] for stage in stages.values() for out in stage.get("outs", []) if "md5" in out}
    except (UserError, TypeError, KeyError, AttributeError):
        return set()


def _md5(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
