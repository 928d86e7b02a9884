"""Experiments on the cores of this machine: as many at once as fit."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil

from dcgan.cluster.engine import Event, Failed, Finished, Progress
from dcgan.cluster.experiment import ExperimentFailed, Making, Origin, Place, bundle_file
from dcgan.cluster.grid import Experiment

RUN_MEMORY = 1_500_000_000  # bytes; a default run takes 1.2 GB at most


def local_slots() -> int:
    """One run for each core, if there is memory for it."""
    return max(1, min(len(os.sched_getaffinity(0)), psutil.virtual_memory().total // RUN_MEMORY))


class LocalSlots:
    """Clones share DVC's cache and the local state (run logs, checkpoints) of the repository they come from."""

    def __init__(self, origin: Origin, folder: Path, state: Path, variables: Mapping[str, str]) -> None:
        self._origin, self._folder, self._state = origin, folder, state
        # Waiting threads of OpenMP leave the core to the other runs. It changes no result
        self._variables = {"OMP_WAIT_POLICY": "PASSIVE", **variables}
        self._running: dict[Experiment, tuple[Making, Place]] = {}
        for left in folder.glob("clone-*"):  # by a driver that was killed
            shutil.rmtree(left, ignore_errors=True)

    def slots(self) -> int:
        return local_slots()

    def start(self, experiment: Experiment) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"clone-{experiment.name}-", dir=self._folder))
        place = Place(folder / "attempt", self._state, self._folder / f"{experiment.name}.log")
        place.log.write_bytes(b"")
        self._running[experiment] = Making(experiment, self._origin, place, self._variables), place

    def events(self) -> list[tuple[Experiment, Event]]:
        return [(experiment, self._event(experiment)) for experiment in list(self._running)]

    def _event(self, experiment: Experiment) -> Event:
        making, place = self._running[experiment]
        try:
            if making.step():
                return Progress(making.progress(), "")
            event: Event = Finished(bundle_file(place).read_bytes())
        except ExperimentFailed as error:
            event = Failed(f"{error}; all output: {place.log}")
        self._end(experiment)
        return event

    def _end(self, experiment: Experiment) -> None:
        _, place = self._running.pop(experiment)
        shutil.rmtree(place.folder.parent, ignore_errors=True)

    def forget(self, experiment: Experiment) -> None:
        (self._folder / f"{experiment.name}.log").unlink(missing_ok=True)

    def __enter__(self) -> "LocalSlots":
        return self

    def __exit__(self, *_: object) -> None:
        for making, _ in self._running.values():
            making.request_stop()
        for experiment, (making, _) in list(self._running.items()):
            making.wait_for_stop()
            self._end(experiment)
