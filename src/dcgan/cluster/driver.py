"""Runs the experiments of a sweep on an engine: what fails is reported at the end, what is lost is run again."""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from dcgan.cluster.engine import Engine, Failed, Finished, Lost, Progress
from dcgan.cluster.grid import Experiment
from dcgan.cluster.table import Row, Table
from dcgan.support.errors import UserError, print_to_stderr
from dcgan.support.stop_signals import Interrupted, StopRequest

POLL_S = 0.2
MOST_LOSSES = 5  # of one experiment: more are hardly an accident
AGAIN = "run the same command again to continue with the unfinished runs"


def run_all(
    experiments: Sequence[Experiment],
    engine: Engine,
    store: Callable[[Experiment, bytes], str],
    table: Table,
    stop: StopRequest,
) -> None:
    """Run the experiments.

    Args:
        store: stores the commit of a finished experiment, given as a bundle; returns its score for the table.

    Raises:
        UserError: some failed, or were lost too often. All others were run first.
        Interrupted: a stop was requested; checkpoints were written first.
    """
    waiting, running, losses = deque(experiments), set(), Counter()
    failures: dict[Experiment, str] = {}
    try:
        while waiting or running:
            if stop.reason:
                raise Interrupted(f"stopped by {stop.reason}; {AGAIN}", stop.exit_code)
            while waiting and len(running) < engine.slots():
                experiment = waiting.popleft()
                engine.start(experiment)
                running.add(experiment)
                table.set(experiment, Row("waiting"))
            for experiment, event in engine.events():
                match event:
                    case Progress(text, node):
                        table.set(experiment, Row(text, node))
                        continue
                    case Finished(bundle):
                        table.set(experiment, Row("done", score=store(experiment, bundle)))
                    case Failed(reason):
                        failures[experiment] = reason
                        table.set(experiment, Row("failed"))
                        print_to_stderr(f"{experiment.label}: {reason}")
                    case Lost(reason):
                        losses[experiment] += 1
                        print_to_stderr(f"{experiment.label}: lost ({reason})")
                        if losses[experiment] < MOST_LOSSES:
                            waiting.appendleft(experiment)
                            table.set(experiment, Row("lost"))
                        else:
                            failures[experiment] = f"lost {MOST_LOSSES} times, the last time because of: {reason}"
                            table.set(experiment, Row("failed"))
                running.discard(experiment)
            table.show()
            time.sleep(POLL_S)
    finally:
        table.close()
    if failures:
        first, reason = next(iter(failures.items()))
        raise UserError(
            f"{len(failures)} of {len(experiments)} run(s) failed, the first one ({first.label}) with {reason}; "
            f"when that is repaired, {AGAIN}"
        )
