"""Fixtures used by several test modules."""

import signal
from pathlib import Path

import pytest
import torch

from dcgan.data.download import fetch
from dcgan.data.mnist import FILES, file_fault
from dcgan.support.lock import hold

ROOT = Path(__file__).parents[1]

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a script started this run with `&`; child processes inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

torch.set_num_threads(1)  # the suite runs in two processes; more threads would only compete for the cores


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """A folder with MNIST's four files, verified. Read-only for tests. Fetched once, then reused by later test runs."""
    folder = ROOT / ".pytest_cache" / "mnist"
    with hold(folder.with_suffix(".lock"), "fetching MNIST for the tests", wait=120):  # pytest -n 2: two processes
        if any(file_fault(folder / name) for name in FILES):
            raw = ROOT / "data" / "raw"
            fetch(folder, None if any(file_fault(raw / name) for name in FILES) else str(raw))
    return folder
