"""One training on disk: the folder of its checkpoints, the lock on it, and its end.

A training is named by its fingerprint, the hash of everything that shapes its result. The same command run again after
a kill finds the same folder and goes on from its newest checkpoint.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from dcgan import constants, images
from dcgan.support.files import sha256
from dcgan.support.lock import hold
from dcgan.support.stop_signals import StopRequest, stop_requests

# After a kill -9 of dvc its trainer notices within seconds and ends: the next one waits for it that long.
WAIT_FOR_LOCK_S = 15


@dataclass(frozen=True)
class TrainingSession:
    folder: Path  # checkpoints, snapshots, and the id of the run log
    stop: StopRequest

    @property
    def run_log_note(self) -> Path:
        """Names the run log of this training, so that a resumed one goes on in it."""
        return self.folder / "run_log"

    def finish_and_exit(self) -> NoReturn:
        """Delete the checkpoints, then the run log's id, and exit at once with status 0.

        A kill between the two trains again, into the same run log. DVC counts the stage as done only when the process
        ends, and interpreter shutdown takes a second in which a kill would repeat the training: it is skipped.
        """
        for checkpoint in self.folder.glob("checkpoint-*"):
            checkpoint.unlink()
        shutil.rmtree(self.folder)
        sys.stdout.flush()
        os._exit(0)


@contextmanager
def training_session(state: Path, fingerprint: str) -> Iterator[TrainingSession]:
    """Hold the training of that fingerprint alone, and catch requests to stop.

    Args:
        state: folder of local state, outside of DVC's outputs.

    Raises:
        Taken: another process trains the same, and did not end within 15 seconds.
    """
    with hold(lock_path(state, fingerprint), "training", wait=WAIT_FOR_LOCK_S), stop_requests() as stop:
        yield TrainingSession(session_folder(state, fingerprint), stop)


def session_folder(state: Path, fingerprint: str) -> Path:
    return state / "runs" / fingerprint


def lock_path(state: Path, fingerprint: str) -> Path:
    """Outside of the session's folder: on NFS a folder cannot be removed while a file in it is open."""
    return state / "locks" / fingerprint


def training_fingerprint(settings: Any, data: Iterable[Path]) -> str:
    """Hash of what shapes a training's result: settings (JSON values), the files in `data`, and the code.

    Returns:
        16 hexadecimal digits.
    """
    source = [*Path(__file__).parent.glob("*.py"), Path(images.__file__), Path(constants.__file__)]
    hashes = {path.name: sha256(path) for path in sorted([*source, *data])}
    return hashlib.sha256(json.dumps([settings, hashes], sort_keys=True).encode()).hexdigest()[:16]
