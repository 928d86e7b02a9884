"""What several test modules share."""

from pathlib import Path

import pytest
import torch

from dcgan.data.download import fetch
from dcgan.data.mnist import FILES, problem
from dcgan.support.lock import hold

ROOT = Path(__file__).parents[1]

torch.set_num_threads(1)  # the suite runs in two processes; threads of theirs would only wait for each other


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """A folder with MNIST's four files, verified; only to be read. Fetched once, then kept between test runs."""
    kept = ROOT / ".pytest_cache" / "mnist"
    with hold(kept.with_suffix(".lock"), "fetching MNIST for the tests", wait=120):  # test processes side by side
        if any(problem(kept / name) for name in FILES):
            raw = ROOT / "data" / "raw"
            fetch(kept, None if any(problem(raw / name) for name in FILES) else str(raw))
    return kept
