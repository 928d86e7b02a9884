"""What several test modules share."""

from pathlib import Path

import pytest

from dcgan.download import fetch
from dcgan.mnist import FILES, problem

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """A folder with MNIST's four files, verified; only to be read. Fetched once, then kept between test runs."""
    raw = ROOT / "data" / "raw"
    if not any(problem(raw / name) for name in FILES):
        return raw
    kept = ROOT / ".pytest_cache" / "mnist"
    fetch(kept)
    return kept
