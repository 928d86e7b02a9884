"""The parts in which a run log is sent, as MLflow's own types."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from mlflow.entities import Metric

from dcgan.tracking.events import Event
from dcgan.tracking.run_log import RunLog

POINTS_PER_CALL = 1000  # MLflow's limit for one log_batch
PARAMS_OR_TAGS_PER_CALL = 100  # the same


@dataclass
class Slice:
    """What is sent before progress is saved: some points, or one image or file with the events before it."""

    start: int  # positions in the run log
    end: int
    time: int | None  # of points and images, instead of their own; ms since 1970
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    artifacts: list[Event] = field(default_factory=list)
    datasets: list[Event] = field(default_factory=list)
    status: Event | None = None

    @property
    def is_full(self) -> bool:
        return len(self.metrics) >= POINTS_PER_CALL or bool(self.artifacts)

    def add(self, event: Event, end: int) -> None:
        self.end = end
        match event["event"]:
            case "params":
                self.params |= event["values"]
            case "tags":
                self.tags |= event["values"]
            case "points":
                time, step = self.time or event["time"], event["step"]
                self.metrics += [Metric(key, float(value), time, step) for key, value in event["values"].items()]
            case "image":
                self.artifacts.append({**event, "time": self.time or event["time"]})
            case "file" | "model":
                self.artifacts.append(event)
            case "dataset":
                self.datasets.append(event)
            case "status":
                self.status = event


def slices(run_log: RunLog, start: int, time: int | None) -> Iterator[Slice]:
    """The run log from byte `start` on; `time` as in `Slice`."""
    part = Slice(start, start, time)
    for event, end in run_log.events(start):
        part.add(event, end)
        if part.is_full:
            yield part
            part = Slice(end, end, time)
    if part.end > part.start:
        yield part
