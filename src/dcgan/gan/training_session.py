"""One training run on disk: its folder, its lock, and how it ends.

A training run is identified by its fingerprint, a hash of everything that affects the result. After a kill, the same
command finds the same folder and resumes from the newest checkpoint. Several processes that want the same training, as
queued experiments do that differ only in their evaluation, run one after the other: the first one trains, the others
wait and use its result (`dcgan.gan.finished_training`).
"""

import hashlib
import json
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from dcgan import constants, images
from dcgan.gan.finished_training import is_finished, is_obsolete, is_usable, note_finished, read_finished
from dcgan.support.errors import UserError
from dcgan.support.files import sha256
from dcgan.support.lock import Lock, hold
from dcgan.support.stop_signals import Interrupted, StopRequest, stop_requests

RUN_LOG_ID = "run_log"
LOCK_CHECK_EVERY_S = 1.0
SAY_WAITING_AFTER_S = 1.0  # `dcgan clean` holds a lock for less


@dataclass(frozen=True)
class TrainingSession:
    folder: Path  # checkpoints, snapshots, and the id of the run log
    workspace: Path  # where the outputs go
    stop: StopRequest
    is_finished: bool  # the training is complete already; its outputs are to be written from the last checkpoint

    @property
    def run_log_id_file(self) -> Path:
        """File with the id of this training's run log, which a resumed training continues."""
        return self.folder / RUN_LOG_ID

    def finish_and_exit(self) -> NoReturn:
        """Note that the outputs are complete, and exit with status 0.

        DVC considers the stage done only when the process has ended, and interpreter shutdown takes a second in which
        a kill would repeat the stage, so shutdown is skipped.
        """
        note_finished(self.folder, self.workspace)
        sys.stdout.flush()
        os._exit(0)


@contextmanager
def training_session(state: Path, fingerprint: str, workspace: Path) -> Iterator[TrainingSession]:
    """Lock the training with this fingerprint, and turn signals into stop requests.

    Waits for as long as another process has it locked: one that runs the same training for another workspace, or one
    whose dvc was killed, which ends within seconds.

    Args:
        state: folder for local state, not tracked by DVC.
        workspace: folder with the dvc.lock that will record the training.

    Raises:
        Interrupted: a stop was requested while waiting.
    """
    folder = session_folder(state, fingerprint)
    with (
        stop_requests() as stop,
        hold(lock_path(state, fingerprint), "training", math.inf, _Waiting(stop)) as lock,
        _kept_locked(lock, stop),
    ):
        _remove_obsolete(state)
        yield TrainingSession(folder, workspace, stop, _find_finished(folder, workspace))


def session_folder(state: Path, fingerprint: str) -> Path:
    return state / "runs" / fingerprint


def session_folders(state: Path) -> list[Path]:
    """Those of all trainings that were interrupted, are running, or are finished."""
    return sorted(path for path in (state / "runs").glob("*") if path.is_dir())


def run_log_id(folder: Path) -> str | None:
    """The id of the run log that the training in a session's folder writes to; None if it has none yet."""
    path = folder / RUN_LOG_ID
    return path.read_text() if path.exists() else None


def lock_path(state: Path, fingerprint: str) -> Path:
    """Not in the session's folder: on NFS, a folder cannot be removed while a file in it is open."""
    return state / "locks" / fingerprint


def remove_session(folder: Path) -> None:
    """Remove a session's folder; its lock must be held. Checkpoints go first: without one, nothing is resumed."""
    for checkpoint in folder.glob("checkpoint-*"):
        checkpoint.unlink()
    shutil.rmtree(folder)


def training_fingerprint(settings: Any, data: Iterable[Path]) -> str:
    """Hash of everything that affects the result of a training run.

    Args:
        settings: JSON values.
        data: files with the training data.
    Returns:
        16 hexadecimal digits; they also depend on the source of this package and of the modules it imports.
    """
    source = [*Path(__file__).parent.glob("*.py"), Path(images.__file__), Path(constants.__file__)]
    hashes = {path.name: sha256(path) for path in [*source, *data]}
    return hashlib.sha256(json.dumps([settings, hashes], sort_keys=True).encode()).hexdigest()[:16]


def _find_finished(folder: Path, workspace: Path) -> bool:
    """Whether the folder has a finished training that this stage may use; one that it may not use is removed."""
    if not is_finished(folder):
        return False
    finished = read_finished(folder)
    if not is_usable(finished, workspace):
        remove_session(folder)
        return False
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(finished.finished))
    print(f"this training was finished at {when}; writing its outputs from the last checkpoint", file=sys.stderr)
    return True


def _remove_obsolete(state: Path) -> None:
    """Remove the folders of finished training runs that nobody needs any more.

    Not of one that is locked, and not of one with a damaged note: that is reported when the training is wanted again.
    """
    for folder in filter(is_finished, session_folders(state)):
        with suppress(UserError), hold(lock_path(state, folder.name), "removing a finished training", wait=0):
            if is_finished(folder) and is_obsolete(read_finished(folder)):
                remove_session(folder)


class _Waiting:
    """Called while another process holds the lock: says so once, and stops on request."""

    def __init__(self, stop: StopRequest) -> None:
        self.stop = stop
        self.since = time.monotonic()
        self.said = False

    def __call__(self, holder: str) -> None:
        if self.stop.reason:
            raise Interrupted(f"stopped by {self.stop.reason} while waiting for the same training", self.stop.exit_code)
        if not self.said and time.monotonic() - self.since > SAY_WAITING_AFTER_S:
            self.said = True
            print(f"waiting: the same training is held {holder}", file=sys.stderr)


@contextmanager
def _kept_locked(lock: Lock, stop: StopRequest) -> Iterator[None]:
    """While the block runs, lock the path again whenever its file was deleted. Request a stop if that is impossible."""
    done = threading.Event()

    def restore() -> None:
        try:
            while not done.wait(LOCK_CHECK_EVERY_S):
                lock.restore()
        except UserError as error:
            stop.make(f"the loss of its lock ({error})", error.exit_code)

    thread = threading.Thread(target=restore, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
