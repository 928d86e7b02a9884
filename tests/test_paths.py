"""Where files are: the repository's root from anywhere, and outputs that DVC knows about."""

from pathlib import Path

import pytest
import yaml

from dcgan import paths

ROOT = Path(__file__).parents[1]
COMMITTED = {
    paths.READY_MADE_GENERATOR,
    paths.FEATURE_WEIGHTS,
    paths.FEATURE_METADATA,
    paths.BASELINE,
    paths.READY_MADE_SCORES,
}
FOLDERS = {paths.RAW_DATA, paths.MODELS, paths.METRICS}  # of outputs that are declared one by one
BY_COMMANDS = {paths.QUIZ}  # not by a stage


@pytest.fixture
def no_stage(monkeypatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)


def test_root_is_found_from_a_folder_below_it(tmp_path, monkeypatch, no_stage):
    (tmp_path / "dvc.yaml").touch()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    for folder in (tmp_path, below):
        monkeypatch.chdir(folder)
        assert paths.root_folder() == tmp_path


def test_root_is_the_current_folder_outside_a_repository(tmp_path, monkeypatch, no_stage):
    monkeypatch.chdir(tmp_path)
    assert paths.root_folder() == tmp_path


def test_a_queued_experiment_uses_the_parent_repository(tmp_path, monkeypatch):
    """DVC runs it in a temporary folder, which has a dvc.yaml too and is deleted afterwards."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path / "experiment")
    monkeypatch.setenv("DVC_ROOT", "..")
    assert paths.root_folder() == tmp_path


def test_every_output_path_is_declared_in_dvc_yaml():
    """What a stage writes elsewhere would not be restored from DVC's cache."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    listed = [entry for stage in stages for entry in (*stage.get("outs", []), *stage.get("metrics", []))]
    outputs = {Path(entry if isinstance(entry, str) else next(iter(entry))) for entry in listed}
    named = {value for value in vars(paths).values() if isinstance(value, Path)} - COMMITTED - FOLDERS - BY_COMMANDS
    assert {path for path in named if not outputs & {path, *path.parents}} == set()


def test_committed_files_are_there():
    assert [path for path in COMMITTED if not (ROOT / path).is_file()] == []
