"""A sweep's run and its children, in a real store."""

from tracking.helpers import find_run, make_run_log, write_workspace

from dcgan.support.files import sha256
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.mlflow_runs import PARENT_TAG
from dcgan.tracking.restored import log_restored
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sender import publishing
from dcgan.tracking.sent import read_sent
from dcgan.tracking.session import start_or_resume
from dcgan.tracking.sweeps import core_seconds_per_image, end_abandoned, start_or_resume_sweep

OPTIONS = ["train.seed=1..2"]


def test_a_training_of_a_sweep_is_a_child_of_its_run(root, store, monkeypatch):
    sweep = start_or_resume_sweep(root, "sweep", "a" * 40, OPTIONS)
    monkeypatch.setenv("DCGAN_SWEEP", sweep.id)
    training = start_or_resume(root, root / ".dcgan/runs/fingerprint/run_log", "train")
    store.publish(training)
    assert find_run(store, training).data.tags[PARENT_TAG] == find_run(store, sweep).info.run_id
    assert "Sweep over `train.seed=1..2`" in find_run(store, sweep).data.tags["mlflow.note.content"]


def test_the_same_sweep_has_one_run_and_is_resumed(root, store):
    first = start_or_resume_sweep(root, "sweep", "a" * 40, ["train.seed=1..2", "train.images=64"])
    first.finish("KILLED")
    again = start_or_resume_sweep(root, "sweep", "a" * 40, ["train.images=64", "train.seed=1..2"])
    assert again.id == first.id and again.status == "RUNNING" and len(RunLog.all(root)) == 1
    assert start_or_resume_sweep(root, "sweep", "b" * 40, OPTIONS).id != first.id


def test_restored_results_of_a_sweep_find_the_run_of_the_training(root, store, tmp_path, monkeypatch):
    """The training has a parent, and is still no re-evaluation."""
    workspace = write_workspace(tmp_path / "workspace")
    sweep = start_or_resume_sweep(root, "sweep", "a" * 40, OPTIONS)
    training = make_run_log(root, workspace)
    model = sha256(workspace / PIPELINE.model)
    training.log_tags({"dcgan.sweep": sweep.id, "model.sha256": model})
    store.publish(training)
    other_clone = tmp_path / "other"
    monkeypatch.chdir(workspace)
    restored = log_restored(PIPELINE, other_clone, workspace)
    store.publish(restored)
    trainings = store.runs.search(f"tags.`model.sha256` = '{model}'")
    assert [run.info.run_id for run in trainings] == [find_run(store, training).info.run_id]


def test_a_stage_that_must_never_send_only_writes_its_run_log(root, store, monkeypatch):
    monkeypatch.setenv("DCGAN_PUBLISH_EVERY_S", "never")
    with publishing(root):
        run_log = RunLog.create(root, "train")
    assert run_log.size() and not read_sent(run_log.folder, store.uri).size
    store.publish(run_log)
    assert find_run(store, run_log)


def test_a_training_that_was_begun_anew_elsewhere_does_not_say_running_for_ever(root):
    for name, experiment in (("lost", "a"), ("finished", "a"), ("of another sweep", "b")):
        run_log = RunLog.create(root, name)
        run_log.log_tags({"dcgan.sweep": "sweep-1", "dvc.exp_name": experiment})
        if name == "finished":
            run_log.finish("FINISHED")
    end_abandoned(root, "sweep-1", ["a"])
    status = {run_log.name: run_log.status for run_log in RunLog.all(root)}
    assert status == {"lost": "KILLED", "finished": "FINISHED", "of another sweep": "RUNNING"}


def test_the_time_of_a_run_comes_from_the_newest_one_that_has_scores(root, tmp_path, monkeypatch):
    assert core_seconds_per_image(root) is None
    run_log = RunLog.create(root, "train")
    run_log.log_params({"train": {"images": 1000, "workers": 2}})
    run_log.finish("FINISHED")
    assert core_seconds_per_image(root) is None  # no scores
    run_log.log_points({"eval/relative_fid": 1.5}, 0)
    rate = core_seconds_per_image(root)
    assert rate is not None and 0 <= rate < 60 * 2 / 1000
