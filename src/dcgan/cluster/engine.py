"""What runs experiments, as the driver sees it."""

from dataclasses import dataclass
from typing import Protocol

from dcgan.cluster.grid import Experiment


@dataclass(frozen=True)
class Progress:
    text: str
    node: str


@dataclass(frozen=True)
class Finished:
    bundle: bytes  # the experiment's commit; its data are stored


@dataclass(frozen=True)
class Lost:
    """The machine or the process is gone; the experiment itself may be fine."""

    reason: str


@dataclass(frozen=True)
class Failed:
    reason: str
    output: str = ""  # the last of it, if it is nowhere else


Event = Progress | Finished | Lost | Failed


class Engine(Protocol):
    def slots(self) -> int:
        """How many experiments may be started and not ended."""

    def start(self, experiment: Experiment) -> None:
        """Begin an attempt, or continue what an earlier attempt has left."""

    def events(self) -> list[tuple[Experiment, Event]]:
        """What has happened since the last call. After `Finished`, `Lost` or `Failed` an experiment is not running."""

    def forget(self, experiment: Experiment) -> None:
        """The result of a finished experiment is stored: nothing of it is needed any more."""

    def __enter__(self) -> "Engine": ...

    def __exit__(self, *_: object) -> None:
        """End all attempts in order; what they have reached is kept for the next one."""
