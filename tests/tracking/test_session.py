"""The run log of a stage over its life: started or resumed, and ended with the right status."""

from contextlib import nullcontext

import pytest
from tracking.helpers import find_run, wait_for

from dcgan.support.errors import UserError
from dcgan.support.stop_signals import Interrupted
from dcgan.tracking.locations import store_uri
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sent import read_sent
from dcgan.tracking.session import ending, start_or_resume, tracked

INTERRUPTED = Interrupted("stopped by SIGTERM", 143)


@pytest.fixture
def id_file(root):
    """A file that names the run log; its folder does not exist yet."""
    return root / ".dcgan/runs/fingerprint/run_log"


def run(root, id_file, step: int, error: BaseException | None = None) -> RunLog:
    """One attempt of a stage: logs a point, then raises `error` if there is one."""
    run_log = start_or_resume(root, id_file, "train")
    with tracked(root, run_log):
        run_log.log_points({"a": step}, step)
        if error:
            # Importing MLflow alone may take longer than the sender gets after an error
            wait_for(lambda: read_sent(run_log.folder, store_uri(root)).size)
            raise error
    return run_log


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (None, "FINISHED", None),
        (INTERRUPTED, "KILLED", "stopped by SIGTERM"),
        (UserError("the loss stopped being finite at step 7"), "FAILED", "the loss stopped being finite at step 7"),
        (ValueError("two\nlines"), "FAILED", "ValueError: two lines"),
        (OSError("cannot reach https://me:secret@host"), "FAILED", "OSError: cannot reach https://host"),
        (KeyboardInterrupt(), "FAILED", "KeyboardInterrupt"),
        (SystemExit(1), "FAILED", "SystemExit: 1"),
    ],
    ids=repr,
)
def test_the_end_says_how_and_why_the_block_ended(tmp_path, error, status, reason):
    run_log = RunLog.create(tmp_path, "train")
    with pytest.raises(type(error)) if error else nullcontext() as caught, ending(run_log):
        if error:
            raise error
    assert error is None or caught.value is error
    (run_log,) = RunLog.all(tmp_path)
    assert (run_log.status, run_log.tags.get("end.reason")) == (status, reason)
    assert error is None or f"**Ended early:** {reason}" in run_log.tags["mlflow.note.content"]


def test_an_end_that_cannot_be_logged_does_not_hide_its_reason(tmp_path):
    run_log = RunLog.create(tmp_path, "train")
    with pytest.raises(ValueError, match="diverged"), ending(run_log):
        (run_log.folder / "events.jsonl").unlink()
        (run_log.folder / "events.jsonl").mkdir()
        raise ValueError("diverged")


@pytest.mark.parametrize(
    "error", [INTERRUPTED, pytest.param(UserError("full disk"), marks=pytest.mark.faults)], ids=repr
)
def test_a_resumed_stage_continues_its_run_log_and_run(root, store, id_file, error):
    with pytest.raises(type(error)):
        run(root, id_file, 1, error)
    (run_log,) = RunLog.all(root)
    ended = "KILLED" if error is INTERRUPTED else "FAILED"
    sent = find_run(store, run_log)  # before the block was left
    assert (sent.info.status, sent.data.tags["end.reason"]) == (ended, str(error))
    assert sent.data.tags["mlflow.note.content"].endswith(f"**Ended early:** {error}")
    resumed = run(root, id_file, 2)
    (run_log,) = RunLog.all(root)
    assert run_log.id == resumed.id == id_file.read_text()
    assert run_log.logged("point") == {("point", "a", 1), ("point", "a", 2)}
    statuses = [event["status"] for event, _ in run_log.events() if event["event"] == "status"]
    assert statuses == [ended, "RUNNING", "FINISHED"]
    sent = find_run(store, run_log)
    assert (sent.info.status, sent.data.tags["end.reason"]) == ("FINISHED", "")
    assert "Ended early" not in sent.data.tags["mlflow.note.content"]


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "train"),
        ({"DVC_EXP_NAME": "wide"}, "wide"),
        ({"DVC_EXP_NAME": "wide", "MLFLOW_RUN_NAME": "mine"}, "mine"),
    ],
    ids=str,
)
def test_a_run_has_the_name_that_the_user_gave(root, id_file, monkeypatch, variables, name):
    for variable in ("DVC_EXP_NAME", "MLFLOW_RUN_NAME"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert start_or_resume(root, id_file, "train").name == name


@pytest.mark.parametrize("is_created", [False, True])
def test_a_kill_around_the_creation_of_the_run_log_leaves_no_second_one(root, id_file, monkeypatch, is_created):
    create = RunLog.create

    def kill(*arguments, **options):
        if is_created:
            create(*arguments, **options).__dict__.pop("_alive").close()  # as if its process had ended
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunLog, "create", kill)
        start_or_resume(root, id_file, "train")
    named = id_file.read_text()
    assert start_or_resume(root, id_file, "train").id == named
    assert [run_log.id for run_log in RunLog.all(root)] == [named]


def test_without_its_id_file_a_stage_starts_another_run_log(root, id_file):
    first = start_or_resume(root, id_file, "train")
    id_file.unlink()
    assert start_or_resume(root, id_file, "train").id != first.id
