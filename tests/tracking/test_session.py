"""The run log of a stage over its life: started or resumed, and ended with the right status."""

import pytest
from tracking.helpers import find_run

from dcgan.support.stop_signals import Interrupted
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.session import start_or_resume, tracked

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
            raise error
    return run_log


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (INTERRUPTED, "KILLED"),
        (ValueError("diverged"), "FAILED"),
        (KeyboardInterrupt(), "FAILED"),
        (SystemExit(1), "FAILED"),
    ],
    ids=repr,
)
def test_the_final_status_says_how_the_block_ended(root, store, id_file, error, status):
    if error is None:
        run(root, id_file, 1)
    else:
        with pytest.raises(type(error)) as caught:
            run(root, id_file, 1, error)
        assert caught.value is error
    (run_log,) = RunLog.all(root)
    assert run_log.status == status
    assert find_run(store, run_log).info.status == status  # sent before the block is left


@pytest.mark.parametrize("error", [INTERRUPTED, ValueError("full disk")], ids=repr)
def test_a_resumed_stage_continues_its_run_log(root, store, id_file, error):
    with pytest.raises(type(error)):
        run(root, id_file, 1, error)
    resumed = run(root, id_file, 2)
    (run_log,) = RunLog.all(root)
    assert run_log.id == resumed.id == id_file.read_text()
    assert run_log.logged("point") == {("point", "a", 1), ("point", "a", 2)}
    statuses = [event["status"] for event, _ in run_log.events() if event["event"] == "status"]
    assert statuses == ["KILLED" if error is INTERRUPTED else "FAILED", "RUNNING", "FINISHED"]
    assert find_run(store, run_log).info.status == "FINISHED"


def test_a_kill_between_id_file_and_run_log_leaves_no_second_run_log(root, id_file, monkeypatch):
    def kill(*_, **__):
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
