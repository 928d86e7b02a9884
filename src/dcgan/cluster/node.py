"""One attempt at an experiment, on a node of a cluster: what its process does."""

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dcgan.cluster.engine import Event, Failed, Finished, Progress
from dcgan.cluster.experiment import ExperimentFailed, Making, Origin, Place, bundle_file, tail
from dcgan.cluster.grid import Experiment
from dcgan.cluster.mirror import Changes, Mirror
from dcgan.support.files import write_atomic
from dcgan.support.lock import Lock, hold, is_held

STEP_S = 0.2


@dataclass(frozen=True)
class Report:
    event: Event
    changes: Changes


def attempt(
    experiment: Experiment, origin: Origin, variables: Mapping[str, str], start: Changes, every: float
) -> Iterator[Report]:
    """Make the experiment, going on from `start`; reports every so many seconds, last with `Finished` or `Failed`."""
    os.environ.pop("OMP_NUM_THREADS", None)  # Ray sets it to 1; on one machine, it is not set
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # Ray's subreaper ignores it, and with it the exit status of commands
    with _own_folder() as folder:
        place = Place(folder / "attempt", folder / ".dcgan", folder / "log")
        for name, content in start.files.items():
            write_atomic(place.state / name, content)
        making = Making(experiment, origin, place, variables)
        try:
            yield from _reports(making, place, every)
        except ExperimentFailed as error:
            yield Report(Failed(f"{error} on {socket.gethostname()}", tail(place.log)), Changes({}))
        finally:
            making.request_stop()
            making.wait_for_stop()


def _reports(making: Making, place: Place, every: float) -> Iterator[Report]:
    mirror, node = Mirror(place.state), socket.gethostname()
    text, due = "", 0.0
    while making.step():
        if time.monotonic() >= due or making.phase != text:
            text, due = making.phase, time.monotonic() + every
            yield Report(Progress(making.progress(), node), mirror.changes())
        time.sleep(STEP_S)
    yield Report(Finished(bundle_file(place).read_bytes()), mirror.changes())


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder for this attempt alone; those that killed attempts have left on this node are removed."""
    base = Path(tempfile.gettempdir()) / f"dcgan-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    with hold(base / "lock", "beginning an experiment", wait=60):  # a folder is not locked yet when it is made
        for left in base.glob("run-*"):
            if not is_held(left / "lock"):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=base))
        lock = Lock(folder / "lock", "an experiment", wait=0)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()
