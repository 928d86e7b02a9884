"""One attempt at an experiment, on a node of a cluster: what its process does."""

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dcgan.cluster.engine import Event, Failed, Finished, Progress
from dcgan.cluster.experiment import ExperimentFailed, Making, Origin, Place, bundle_file, tail
from dcgan.cluster.grid import Experiment
from dcgan.cluster.mirror import Changes, Mirror
from dcgan.support.errors import UserError
from dcgan.support.files import write_atomic
from dcgan.support.lock import hold

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
    folder = _new_folder()
    with hold(folder / "lock", "an experiment"):
        place = Place(folder / "attempt", folder / ".dcgan", folder / "log")
        for name, content in start.files.items():
            write_atomic(place.state / name, content)
        making = Making(experiment, origin, place, variables)
        try:
            yield from _reports(making, place, every)
        except ExperimentFailed as error:
            yield Report(
                Failed(f"{error} on {socket.gethostname()}; its last output: {tail(place.log)[-2000:]}"), Changes({})
            )
        finally:
            making.request_stop()
            making.wait_for_stop()
            shutil.rmtree(folder, ignore_errors=True)


def _reports(making: Making, place: Place, every: float) -> Iterator[Report]:
    mirror, node = Mirror(place.state), socket.gethostname()
    text, due = "", 0.0
    while making.step():
        if time.monotonic() >= due or making.phase != text:
            text, due = making.phase, time.monotonic() + every
            yield Report(Progress(making.progress(), node), mirror.changes())
        time.sleep(STEP_S)
    yield Report(Finished(bundle_file(place).read_bytes()), mirror.changes())


def _new_folder() -> Path:
    """A folder of its own for each attempt; those that killed attempts have left here are removed."""
    base = Path(tempfile.gettempdir()) / f"dcgan-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    for left in base.glob("run-*"):
        with suppress(UserError), hold(left / "lock", "removing what is left of an experiment", wait=0):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix="run-", dir=base))
