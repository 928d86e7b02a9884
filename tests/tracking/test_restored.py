"""What DVC restored, where no stage ran: logged from the files with the parameters in dvc.lock."""

import json

import pytest
from tracking.helpers import write_lock, write_workspace

from dcgan.support.errors import UserError
from dcgan.support.files import sha256
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.restored import log_restored
from dcgan.tracking.run_log import RunLog


def test_logging_that_was_interrupted_is_completed(root, tmp_path, monkeypatch):
    workspace = write_workspace(tmp_path / "w")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("dcgan.tracking.stage_outputs._log_progress", interrupt)
        log_restored(PIPELINE, root, workspace)
    assert [run_log.status for run_log in RunLog.all(root)] == ["RUNNING"]
    log_restored(PIPELINE, root, workspace)
    (run_log,) = RunLog.all(root)
    assert run_log.status == "FINISHED"
    assert len(run_log.logged("image")) == 3
    assert run_log.value("point", "eval/details/fid", 0) == 1.5


def test_parameters_come_from_dvc_lock(root, tmp_path):
    workspace = write_workspace(tmp_path / "w")
    (workspace / "params.yaml").write_text("train: {seed: 99}")
    assert log_restored(PIPELINE, root, workspace).params["train.seed"] == "1"


def test_a_model_of_unknown_origin_is_refused(root, tmp_path):
    workspace = write_workspace(tmp_path / "w")
    (workspace / "models/generator.safetensors").write_bytes(b"from elsewhere")
    with pytest.raises(UserError, match=r"generator\.safetensors is not the one in dvc\.lock"):
        log_restored(PIPELINE, root, workspace)
    assert RunLog.all(root) == []
    (workspace / "dvc.lock").unlink()
    with pytest.raises(UserError, match=r"generator\.safetensors is not the one in dvc\.lock"):
        log_restored(PIPELINE, root, workspace)


def test_a_model_that_a_stage_logged_without_dvc_is_accepted(root, tmp_path):
    workspace = write_workspace(tmp_path / "w")
    (workspace / "models/generator.safetensors").write_bytes(b"trained by hand")
    by_hand = RunLog.create(root, "by hand")
    by_hand.log_tags({"model.sha256": sha256(workspace / "models/generator.safetensors")})
    assert log_restored(PIPELINE, root, workspace).id == by_hand.id


def test_scores_of_another_model_are_left_out(root, tmp_path):
    workspace = write_workspace(tmp_path / "w")
    (workspace / "models/generator.safetensors").write_bytes(b"from elsewhere")
    write_lock(workspace)  # dvc.lock has the model, but says that the scores are from other samples
    lock = json.loads((workspace / "dvc.lock").read_text())
    lock["stages"]["evaluate"]["deps"][0]["md5"] = "0" * 32
    (workspace / "dvc.lock").write_text(json.dumps(lock))
    assert log_restored(PIPELINE, root, workspace).value("point", "eval/details/fid", 0) is None


def test_without_a_model_there_is_nothing_to_log(root, tmp_path):
    assert log_restored(PIPELINE, root, tmp_path) is None
    assert RunLog.all(root) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "<<<<<<< HEAD\nschema: '2.0'\n=======\nschema: '2.1'\n>>>>>>> theirs\n",
            "has the markers of a merge conflict",
        ),
        ("schema: '2.0'\n", "is not as DVC writes it"),
        ("stages: [train]\n", "is not as DVC writes it"),
        ("stages: {train: {outs: [models]}}\n", "is not as DVC writes it"),
        ("", "is not as DVC writes it"),
    ],
)
def test_a_spoiled_dvc_lock_is_one_line(root, tmp_path, content, message):
    workspace = write_workspace(tmp_path / "w")
    (workspace / "dvc.lock").write_text(content)
    with pytest.raises(UserError, match=rf"dvc\.lock {message}") as caught:
        log_restored(PIPELINE, root, workspace)
    assert "\n" not in str(caught.value)
    assert RunLog.all(root) == []


def test_parameters_missing_in_dvc_lock_are_named(root, tmp_path):
    workspace = write_workspace(tmp_path / "w")
    lock = json.loads((workspace / "dvc.lock").read_text())
    del lock["stages"]["train"]["params"]["params.yaml"]["model"]
    (workspace / "dvc.lock").write_text(json.dumps(lock))
    with pytest.raises(UserError, match=r"dvc\.lock has no parameters 'model' of stage 'train'"):
        log_restored(PIPELINE, root, workspace)
