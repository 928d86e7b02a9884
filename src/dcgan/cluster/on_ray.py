"""Experiments on the nodes of a Ray cluster.

An attempt is a Ray task that reports to the driver while it runs. Ray tells when it is lost with its node; the driver
then starts another one, from the copies it has. Ray's own retries would start from nothing.
"""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dcgan.cluster.engine import Event, Failed, Finished, Lost
from dcgan.cluster.experiment import Origin
from dcgan.cluster.grid import MOST_EXPERIMENTS, Experiment
from dcgan.cluster.mirror import Copies
from dcgan.cluster.node import attempt
from dcgan.support.errors import UserError
from dcgan.support.files import write_atomic

CONNECT_S = 5.0
REPORT_S = 2.0  # at least; what a node has done since its last report is lost with it
REPORT_S_PER_RUN = 0.05  # a report may carry a checkpoint of 7 MB: with 1,000 runs, 150 MB/s for the driver
RUN_MEMORY = 1_500_000_000  # bytes; as on one machine


class RayCluster:
    def __init__(
        self,
        address: str,
        origin: Origin,
        state: Path,
        variables: Mapping[str, str],
        on_run_log: Callable[[Path], None],
    ) -> None:
        self._ray = connect(address)
        self._origin, self._variables = origin, dict(variables)
        self._folder = state / "sweep"
        self._copies = Copies(state, self._folder, on_run_log)
        needs = {"num_cpus": 1, "memory": RUN_MEMORY}
        self._attempt = self._ray.remote(**needs, max_retries=0, num_returns="streaming")(attempt)
        self._running: dict[Any, Experiment] = {}  # by the stream of its reports

    def slots(self) -> int:
        """Ray queues them until a node has room."""
        return MOST_EXPERIMENTS

    def start(self, experiment: Experiment) -> None:
        start = self._copies.read(experiment.name)
        every = max(REPORT_S, REPORT_S_PER_RUN * len(self._running))
        stream = self._attempt.remote(experiment, self._origin, self._variables, start, every)
        self._running[stream] = experiment

    def events(self) -> list[tuple[Experiment, Event]]:
        if not self._running:
            return []
        streams = list(self._running)
        ready, _ = self._ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)
        found = [(self._running[stream], self._event(stream)) for stream in ready]
        for stream, (_, event) in zip(ready, found, strict=True):
            if isinstance(event, Finished | Failed | Lost):
                del self._running[stream]
        return found

    def forget(self, experiment: Experiment) -> None:
        self._copies.forget(experiment.name)
        (self._folder / f"{experiment.name}.log").unlink(missing_ok=True)

    def _event(self, stream: Any) -> Event:
        exceptions = self._ray.exceptions
        try:
            report = self._ray.get(next(stream))
        except StopIteration:
            return Lost("it ended without a result")
        except exceptions.RayTaskError as error:
            return Failed(f"an error of its own: {_last_line(error)}")
        except exceptions.RayError as error:
            return Lost(f"{type(error).__name__}: {' '.join(str(error).split())[:150]}")
        experiment = self._running[stream]
        self._copies.apply(experiment.name, report.changes)
        if isinstance(report.event, Failed):
            return self._with_output_stored(experiment, report.event)
        return report.event

    def _with_output_stored(self, experiment: Experiment, failed: Failed) -> Failed:
        path = self._folder / f"{experiment.name}.log"
        write_atomic(path, failed.output.encode())
        return Failed(f"{failed.reason}; its last output: {path}")

    def __enter__(self) -> "RayCluster":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._running:
            self._ray.cancel(stream)
        self._copies.close()
        self._ray.shutdown()


def connect(address: str) -> Any:
    """Ray, connected to this cluster.

    Raises:
        UserError: Ray is not installed, or there is no cluster at that address.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError("--on needs Ray, which is not installed; install it: pip install -e '.[cluster]'") from error
    _check_reachable(address)
    try:
        ray.init(address, log_to_driver=False, logging_level="error", ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"cannot use the Ray cluster {address} ({_last_line(error)}); start one there (docs/cluster.md), or leave "
            "out --on"
        ) from error
    return ray


def _check_reachable(address: str) -> None:
    """At once: Ray itself tries for a minute."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):
        return  # "auto", say
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers at {address} ({error}); start one there (docs/cluster.md), or leave out --on"
        ) from error


def cluster_slots(address: str) -> int:
    """How many runs the cluster's nodes make at once now."""
    return int(connect(address).cluster_resources().get("CPU", 0))


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
