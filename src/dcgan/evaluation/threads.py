"""Independent tasks in parallel, each on one thread.

Two threads inside one torch operation wait for each other hundreds of times a second, which made scoring up to five
times slower on a busy machine. Two tasks, each on its own thread, never wait for each other, and no result depends on
how many run at once.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import torch

from dcgan.support.progress import progress_together

THREADS = 2
_seeding = threading.Lock()


def run_in_threads(tasks: Sequence[Callable[[], object]]) -> list:
    """Run the tasks, started in the given order, and return their results in that order.

    Tasks share torch's global random generator and draw from it only within `seeded`. Sets torch to one thread per
    operation for the whole process.
    """
    torch.set_num_threads(1)
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it, torch's global random generator belongs to this thread and starts from `seed`."""
    with _seeding, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def run_with_progress(title: str, tasks: Mapping[str, Callable[[], object]], costs: Mapping[str, float]) -> dict:
    """`run_in_threads`, with one progress line for all: key -> result.

    Args:
        costs: how long each task takes, in any unit.
    """

    def counted(key: str) -> object:
        with together.task(costs[key]):
            return tasks[key]()

    with progress_together(title, sum(costs[key] for key in tasks)) as together:
        return dict(zip(tasks, run_in_threads([partial(counted, key) for key in tasks]), strict=True))
