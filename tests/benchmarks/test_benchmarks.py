"""benchmarks/speed.py as a user starts it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_speed_benchmark_without_data_is_one_line_and_code_2(tmp_path):
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    command = [sys.executable, str(ROOT / "benchmarks/speed.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "train-images-idx3-ubyte is missing; run `dvc repro download`" in done.stderr
