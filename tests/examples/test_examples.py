"""The programs in examples/, run as a reader would: without this package."""

import subprocess
import sys
from pathlib import Path

import pytest
from clones import ROOT

from dcgan.cli import main
from dcgan.gan.model_files import export_generator, load_network
from dcgan.paths import READY_MADE_GENERATOR


def output(name: str, folder: Path) -> list[str]:
    code = f"import runpy, sys; sys.modules['dcgan'] = None; runpy.run_path({str(ROOT / 'examples' / name)!r})"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def shows_four_digits(lines: list[str]) -> bool:
    """Four areas of ink, with empty columns around each."""
    inked = [
        [any(line[column] != " " for line in lines) for column in range(start, start + 28)]
        for start in range(0, 112, 28)
    ]
    return all(sum(columns) >= 3 and not columns[0] and not columns[-1] for columns in inked)


def test_torch_export(tmp_path):
    generator = load_network(READY_MADE_GENERATOR, "generator")
    export_generator(tmp_path / "models/generator.pt2", generator)
    size = generator.arguments["latent_size"]
    assert size == 64, "the example names it"
    assert shows_four_digits(output("torch_export.py", tmp_path))


@pytest.mark.extended
def test_onnx_runtime(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["onnx", "--generator", str(READY_MADE_GENERATOR)])
    assert shows_four_digits(output("onnx_runtime.py", tmp_path))
