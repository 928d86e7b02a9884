"""Independent pieces of work side by side, each on one thread.

Two threads inside one operation wait for each other hundreds of times a second: beside other load that cost a factor
of five here. Two lanes never wait, and the result does not depend on how many there are.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

THREADS = 2


def run_in_threads(tasks: Sequence[Callable[[], object]]) -> list:
    """Run the tasks, the first ones first, and return what each returned, in their order.

    They share torch's global random generator and must not draw from it, except through `dcgan.classifier.fit`. The
    number of threads inside an operation is 1 from then on, for the whole process.
    """
    torch.set_num_threads(1)
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]
