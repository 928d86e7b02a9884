"""One training on disk: its checkpoint folder, its lock, and how it ends.

A training is identified by its fingerprint, a hash of everything that affects the result. After a kill, the same
command finds the same folder and resumes from the newest checkpoint.
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

WAIT_FOR_LOCK_S = 15  # a trainer notices a `kill -9` of its dvc within seconds and exits; its successor waits for that


@dataclass(frozen=True)
class TrainingSession:
    folder: Path  # checkpoints, snapshots, and the id of the run log
    stop: StopRequest

    @property
    def run_log_id_file(self) -> Path:
        """File with the id of this training's run log, which a resumed training continues."""
        return self.folder / "run_log"

    def finish_and_exit(self) -> NoReturn:
        """Delete the checkpoints, then the rest of the folder with the run log's id, and exit with status 0.

        After a kill between the two, the training is repeated into the same run log. DVC considers the stage done
        only when the process has ended, and interpreter shutdown takes a second in which a kill would repeat the
        training into a second run log, so shutdown is skipped.
        """
        for checkpoint in self.folder.glob("checkpoint-*"):
            checkpoint.unlink()
        shutil.rmtree(self.folder)
        sys.stdout.flush()
        os._exit(0)


@contextmanager
def training_session(state: Path, fingerprint: str) -> Iterator[TrainingSession]:
    """Lock the training with this fingerprint, and turn signals into stop requests.

    Args:
        state: folder for local state, not tracked by DVC.

    Raises:
        Taken: another process is running this training and did not end within 15 seconds.
    """
    with hold(lock_path(state, fingerprint), "training", wait=WAIT_FOR_LOCK_S), stop_requests() as stop:
        yield TrainingSession(session_folder(state, fingerprint), stop)


def session_folder(state: Path, fingerprint: str) -> Path:
    return state / "runs" / fingerprint


def lock_path(state: Path, fingerprint: str) -> Path:
    """Not in the session's folder: on NFS, a folder cannot be removed while a file in it is open."""
    return state / "locks" / fingerprint


def training_fingerprint(settings: Any, data: Iterable[Path]) -> str:
    """Hash of everything that affects the result of a training.

    Args:
        settings: JSON values.
        data: files with the training data.
    Returns:
        16 hexadecimal digits; they also depend on the source of this package and of the modules it imports.
    """
    source = [*Path(__file__).parent.glob("*.py"), Path(images.__file__), Path(constants.__file__)]
    hashes = {path.name: sha256(path) for path in [*source, *data]}
    return hashlib.sha256(json.dumps([settings, hashes], sort_keys=True).encode()).hexdigest()[:16]
