"""When a finished training may be used instead of training again.

Moments are seconds from the start of this process.
"""

import hashlib
import os
from pathlib import Path

import psutil
import pytest
import yaml

from dcgan.gan.finished_training import NOTE, is_finished, is_obsolete, is_usable, note_finished, read_finished
from dcgan.support.errors import UserError

STARTED = psutil.Process().create_time()
GENERATOR = b"the weights"
OTHER = "0" * 32


@pytest.fixture(autouse=True)
def started_by_dvc(monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "train")


def make_workspace(folder: Path, lock: str | None = None, written: float = 0) -> Path:
    """A workspace with the outputs; `lock`: content of dvc.lock, written at that moment."""
    (folder / "models").mkdir(parents=True)
    (folder / "models/generator.safetensors").write_bytes(GENERATOR)
    if lock is not None:
        (folder / "dvc.lock").write_text(lock)
        os.utime(folder / "dvc.lock", (STARTED + written,) * 2)
    return folder


def lock_with(md5: str) -> str:
    outs = [{"path": "models/generator.safetensors", "md5": md5}, {"path": "metrics/train.json"}]
    return yaml.safe_dump({"schema": "2.0", "stages": {"train": {"cmd": "x", "outs": outs}}})


def finish(folder: Path, workspace: Path, moment: float):
    """The training in the session's folder `folder`, finished at that moment."""
    note_finished(folder, workspace)
    os.utime(folder / NOTE, (STARTED + moment,) * 2)
    return read_finished(folder)


RECORDED = lock_with(hashlib.md5(GENERATOR).hexdigest())
BEFORE = lock_with(OTHER)


@pytest.mark.parametrize(
    ("lock", "written", "usable"),
    [
        (None, 0, True),
        (BEFORE, -200, True),  # dvc was killed before it wrote dvc.lock
        ("", -200, True),
        (RECORDED[:60], -200, True),  # torn by the kill
        (RECORDED, -50, False),  # forced
        (RECORDED, -200, False),  # forced, and dvc.lock put back from an earlier run with the same result
        (BEFORE, -50, False),  # recorded, then overwritten by `git checkout` or by another training
    ],
)
def test_a_stage_in_the_same_workspace(tmp_path, lock, written, usable):
    workspace = make_workspace(tmp_path / "workspace", lock, written)
    finished = finish(tmp_path / "session", workspace, -100)
    assert is_usable(finished, workspace) == usable


@pytest.mark.parametrize(
    ("lock", "written", "usable"),
    [
        (BEFORE, -200, True),  # its dvc was killed before it wrote dvc.lock
        (RECORDED, -50, False),  # complete: whoever trains it afterwards was forced to
        (RECORDED, 50, True),  # recorded while this stage waited for it
        (BEFORE, 50, True),
    ],
)
@pytest.mark.parametrize("own_lock", [None, BEFORE, RECORDED])
def test_a_stage_in_another_workspace(tmp_path, lock, written, usable, own_lock):
    """As in queued experiments. What its own dvc.lock records, it was forced to train."""
    finished = finish(tmp_path / "session", make_workspace(tmp_path / "first", lock, written), -100)
    assert is_usable(finished, make_workspace(tmp_path / "second", own_lock, -300)) == (usable and own_lock != RECORDED)


@pytest.mark.parametrize(("moment", "usable"), [(-100, False), (100, True)])
def test_a_workspace_that_is_gone_counts_as_one_that_recorded_it(tmp_path, moment, usable):
    """DVC removes the folder of a queued experiment when that has ended."""
    workspace = make_workspace(tmp_path / "first")
    finished = finish(tmp_path / "session", workspace, moment)
    workspace.rename(tmp_path / "removed")
    assert is_usable(finished, make_workspace(tmp_path / "second")) == usable


def test_a_stage_that_dvc_did_not_start_trains(tmp_path, monkeypatch):
    finished = finish(tmp_path / "session", make_workspace(tmp_path / "workspace"), -100)
    assert is_usable(finished, tmp_path / "workspace")
    monkeypatch.delenv("DVC_STAGE")
    assert not is_usable(finished, tmp_path / "workspace")


def test_a_recorded_training_is_obsolete_after_a_minute(tmp_path):
    """A stage that was started before it was recorded may not have locked it yet."""
    workspace = make_workspace(tmp_path / "workspace", RECORDED, -50)
    finished = finish(tmp_path / "session", workspace, -100)
    os.utime(workspace / "dvc.lock")
    assert not is_obsolete(finished)
    os.utime(workspace / "dvc.lock", (STARTED - 70,) * 2)
    assert is_obsolete(finished)
    os.utime(workspace / "dvc.lock", (STARTED - 200,) * 2)
    (workspace / "dvc.lock").write_text(BEFORE)
    os.utime(workspace / "dvc.lock", (STARTED - 200,) * 2)
    assert not is_obsolete(finished)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null"])
def test_a_damaged_note_is_one_clear_line(tmp_path, content):
    assert not is_finished(tmp_path)
    (tmp_path / NOTE).write_text(content)
    assert is_finished(tmp_path)
    with pytest.raises(UserError, match=r"finished.json is damaged \(.*dcgan clean --yes") as caught:
        read_finished(tmp_path)
    assert "\n" not in str(caught.value)
