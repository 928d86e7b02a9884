"""Runs the experiments of a sweep on an engine: what fails is reported at the end, what is lost is run again."""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from dcgan.cluster.engine import Engine, Event, Failed, Finished, Lost, Progress
from dcgan.cluster.grid import Experiment
from dcgan.cluster.table import Row, Table
from dcgan.support.errors import UserError, print_to_stderr
from dcgan.support.stop_signals import Interrupted, StopRequest

POLL_S = 0.2
MOST_LOSSES = 5  # of one experiment: more are hardly an accident
AGAIN = "run the same command again to continue with the unfinished runs"
Store = Callable[[Experiment, bytes], str]


def run_all(experiments: Sequence[Experiment], engine: Engine, store: Store, table: Table, stop: StopRequest) -> None:
    """Run the experiments.

    Args:
        store: stores the commit of a finished experiment, given as a bundle; returns its score for the table.

    Raises:
        UserError: some failed, or were lost too often. All others were run first.
        Interrupted: a stop was requested.
    """
    driver = _Driver(experiments, engine, store, table)
    try:
        while not driver.is_done():
            if stop.reason:
                raise Interrupted(f"stopped by {stop.reason}; {AGAIN}", stop.exit_code)
            driver.step()
            table.show()
            time.sleep(POLL_S)
    finally:
        table.close()
    if driver.failures:
        first, reason = next(iter(driver.failures.items()))
        raise UserError(
            f"{len(driver.failures)} of {len(experiments)} run(s) failed, the first one ({first.label}) with {reason}; "
            f"when that is repaired, {AGAIN}"
        )


class _Driver:
    def __init__(self, experiments: Sequence[Experiment], engine: Engine, store: Store, table: Table) -> None:
        self._engine, self._store, self._table = engine, store, table
        self._waiting, self._running = deque(experiments), set[Experiment]()
        self._losses: Counter[Experiment] = Counter()
        self.failures: dict[Experiment, str] = {}

    def is_done(self) -> bool:
        return not (self._waiting or self._running)

    def step(self) -> None:
        while self._waiting and len(self._running) < self._engine.slots():
            experiment = self._waiting.popleft()
            self._engine.start(experiment)
            self._running.add(experiment)
            self._table.set(experiment, Row("waiting"))
        for experiment, event in self._engine.events():
            self._handle(experiment, event)

    def _handle(self, experiment: Experiment, event: Event) -> None:
        if isinstance(event, Progress):
            self._table.set(experiment, Row(event.text, event.node))
            return
        self._running.discard(experiment)
        match event:
            case Finished(bundle):
                score = self._store(experiment, bundle)
                self._engine.forget(experiment)
                self._table.set(experiment, Row("done", score=score))
            case Failed(reason, _):
                self._fail(experiment, reason)
            case Lost(reason):
                self._lose(experiment, reason)

    def _fail(self, experiment: Experiment, reason: str) -> None:
        self.failures[experiment] = reason
        self._table.set(experiment, Row("failed"))
        print_to_stderr(f"{experiment.label}: {reason}")

    def _lose(self, experiment: Experiment, reason: str) -> None:
        self._losses[experiment] += 1
        if self._losses[experiment] == MOST_LOSSES:
            self._fail(experiment, f"lost {MOST_LOSSES} times, the last time because of: {reason}")
            return
        print_to_stderr(f"{experiment.label}: lost ({reason}); it goes on elsewhere")
        self._table.set(experiment, Row("lost"))
        self._waiting.appendleft(experiment)
