"""Which run log the outputs of a workspace go to, and what is logged of them."""

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from tracking.helpers import IMAGE_STEPS, PARAMS, find_run, history, write_image, write_workspace

from dcgan.support.files import sha256
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.run_log import RunLog, damaged_run_logs
from dcgan.tracking.sent import pending_run_logs
from dcgan.tracking.stage_outputs import (
    choosing_run_log,
    log_evaluation,
    log_samples,
    log_training,
    log_training_parameters,
    run_log_for_evaluation,
    settings_hash,
)

OTHER_PARAMS = {**PARAMS, "evaluate": {"seed": 7}}


@pytest.fixture
def workspace(tmp_path):
    return write_workspace(tmp_path / "workspace")


@pytest.fixture
def training(root, workspace) -> RunLog:
    run_log = RunLog.create(root, "training")
    log_training(PIPELINE, run_log, workspace, PARAMS)
    run_log.finish("FINISHED")
    return run_log


def test_a_training_logs_parameters_series_images_files_data_set_and_model(root, workspace):
    (workspace / "data/raw").mkdir(parents=True)
    (workspace / "data/raw/train-images-idx3-ubyte").write_bytes(b"images")
    write_image(workspace / "metrics/progress/overview.png", 0)  # no step in its name: a file
    run_log = RunLog.create(root, "training")
    log_training(PIPELINE, run_log, workspace, PARAMS)
    assert run_log.params == {"model.conditional": "true", "train.seed": "1", "train.learning_rate": "0.001"}
    assert [run_log.value("point", "train/loss_g", step) for step in (64, 128)] == [0.5, "nan"]
    assert {key[1] for key in run_log.logged("point")} == {"train/loss_g", "train/x"}  # the step is not a series
    assert run_log.logged("image") == {("image", "progress/percent", step) for step in IMAGE_STEPS}
    assert run_log.logged("file") == {
        ("file", "models/generator.safetensors"),
        ("file", "models/discriminator.safetensors"),
        ("file", "metrics/train.json"),
        ("file", "metrics/curves.csv"),
        ("file", "metrics/progress/overview.png"),
    }
    digest = sha256(workspace / "data/raw/train-images-idx3-ubyte")
    assert run_log.logged("dataset") == {("dataset", "MNIST", digest[:32])}
    assert run_log.tags["data.sha256"] == digest
    assert run_log.tags["model.sha256"] == sha256(workspace / "models/generator.safetensors")


def test_parameters_and_description_are_there_before_a_training_has_any_outputs(root, store, tmp_path):
    run_log = RunLog.create(root, "training")
    run_log.log_tags({"git.commit": "0123456789abcdef", "git.dirty": "true", "host": "alpha"})
    log_training_parameters(PIPELINE, run_log, PARAMS)
    store.publish(run_log)
    run = find_run(store, run_log)
    assert run.data.params == {"model.conditional": "true", "train.seed": "1", "train.learning_rate": "0.001"}
    description = run.data.tags["mlflow.note.content"]
    assert description == "Training (commit `0123456789`, uncommitted changes, machine `alpha`)."


def test_a_resumed_training_keeps_the_parameters_it_started_with(root, workspace):
    """Its fingerprint is the same, so a parameter written otherwise means the same."""
    run_log = RunLog.create(root, "training")
    auto, resolved = ({**PARAMS, "train": {**PARAMS["train"], "precision": name}} for name in ("auto", "bf16"))
    log_training_parameters(PIPELINE, run_log, auto)
    log_training_parameters(PIPELINE, run_log, resolved)
    log_training(PIPELINE, run_log, workspace, resolved)
    assert run_log.params["train.precision"] == "auto"


def test_images_of_trainings_with_different_budgets_have_the_same_steps(root, workspace):
    for image in (workspace / "metrics/progress").glob("*.png"):
        image.unlink()
    for seen in (0, 109_056, 1_200_000):
        write_image(workspace / f"metrics/progress/images-{seen:09}.png", 7)
    run_log = RunLog.create(root, "training")
    log_training(PIPELINE, run_log, workspace, PARAMS)
    assert run_log.logged("image") == {("image", "progress/percent", percent) for percent in (9, 100)}


def test_a_series_without_a_value_in_a_row_has_no_point_there(root, workspace):
    (workspace / "metrics/curves.csv").write_text("step,images,loss_g,r1\n1,64,0.5,0.25\n2,128,0.5,\n")
    run_log = RunLog.create(root, "training")
    log_training(PIPELINE, run_log, workspace, PARAMS)
    assert {key[2] for key in run_log.logged("point") if key[1] == "train/r1"} == {64}


def test_the_description_has_the_scores_headline_first(root, workspace, training):
    run_log = log_evaluation(PIPELINE, root, workspace, PARAMS)
    assert (
        "| score | value |\n|---|---|\n| recall | 0.5 |\n| fid | 1.5 |\n| kid_x1000 | 2 |"
        in run_log.tags["mlflow.note.content"]
    )
    child = log_evaluation(PIPELINE, root, workspace, OTHER_PARAMS)
    assert child.tags["mlflow.note.content"].startswith(f"Another evaluation of the model of `{training.id}`")


def test_damaged_run_logs_do_not_stop_sampling_and_evaluation(root, workspace, training):
    """Of the training, of a restored model, and of another evaluation: the outputs get a run log of their own."""
    damaged = []
    for _ in range(3):
        log_samples(PIPELINE, root, workspace, PARAMS)
        run_log = log_evaluation(PIPELINE, root, workspace, PARAMS)
        child = log_evaluation(PIPELINE, root, workspace, OTHER_PARAMS)
        assert (child.parent, run_log.parent) == (run_log.id, None)
        assert run_log.id not in damaged and child.id not in damaged
        assert log_evaluation(PIPELINE, root, workspace, PARAMS).id == run_log.id
        for each in (run_log, child):
            (each.folder / "events.jsonl").write_bytes(b"not JSON\n")
            damaged.append(each.id)
    assert len(damaged_run_logs(root)) == 6


def test_each_score_is_logged_once_those_of_real_data_are_not_and_few_entries_of_the_protocol_become_tags(
    root, workspace, training
):
    (workspace / "metrics/evaluate.json").write_text(
        '{"fid": 1.5, "fid_real": 0.5, "cas": 0.9, "kid": 0.1, "kid_x1000": 100, "warnings": [], "has_labels": true, '
        '"protocol": {"version": 2, "n": 10}}'
    )
    run_log = log_evaluation(PIPELINE, root, workspace, PARAMS)
    scores = {key[1:] for key in run_log.logged("point") if key[1].startswith("eval/")}
    assert scores == {("eval/cas", 0), ("eval/details/fid", 0), ("eval/details/kid_x1000", 0)}
    assert {key: run_log.tags[key] for key in run_log.tags if key.startswith("protocol")} == {"protocol.version": "2"}


def test_samples_go_to_the_run_log_of_their_evaluation(root, workspace, training):
    assert log_samples(PIPELINE, root, workspace, PARAMS).id == training.id
    assert log_evaluation(PIPELINE, root, workspace, PARAMS).id == training.id
    assert ("file", "samples/grid.png") in RunLog.open(root, training.id).logged("file")
    sampled = log_samples(PIPELINE, root, workspace, OTHER_PARAMS)
    assert sampled.parent == training.id
    assert log_evaluation(PIPELINE, root, workspace, OTHER_PARAMS).id == sampled.id


def test_a_training_gets_its_first_evaluation_and_others_become_children(root, store, workspace, training):
    assert log_evaluation(PIPELINE, root, workspace, PARAMS).id == training.id
    assert log_evaluation(PIPELINE, root, workspace, PARAMS).id == training.id
    child = log_evaluation(PIPELINE, root, workspace, OTHER_PARAMS)
    assert (child.parent, child.id) == (training.id, log_evaluation(PIPELINE, root, workspace, OTHER_PARAMS).id)
    assert child.name == "training (re-evaluated)"
    write_workspace(workspace, fid=9.0)  # other scores under the same parameters: from other code or libraries
    other_result = log_evaluation(PIPELINE, root, workspace, PARAMS)
    assert other_result.parent == training.id and other_result.id != child.id
    store.publish(child)
    store.publish(other_result)
    runs = [find_run(store, run_log) for run_log in (training, child, other_result)]
    assert [run.data.metrics["eval/details/fid"] for run in runs] == [1.5, 1.5, 9.0]
    assert [run.data.tags.get("mlflow.parentRunId") for run in runs] == [None, *[runs[0].info.run_id] * 2]
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    assert runs[1].data.params["evaluate.seed"] == "7"
    assert runs[0].data.tags["protocol.version"] == "2"
    assert [step for step, *_ in history(store, runs[0], "train/loss_g")] == [64, 128]
    assert [point[:2] for point in history(store, runs[0], "train/x")] == [(64, 1.0), (128, 0.25)]
    assert settings_hash(PIPELINE, PARAMS) == RunLog.open(root, training.id).tags["evaluation.settings"]


def test_a_run_log_that_another_process_is_just_choosing_is_not_taken(root, workspace, training):
    """Two queued experiments evaluate the same model in different ways: both would log to its training."""
    with ThreadPoolExecutor() as pool:
        with choosing_run_log(root):
            other = pool.submit(run_log_for_evaluation, PIPELINE, root, workspace, OTHER_PARAMS)
            wait([other], timeout=0.3)
            training.log_tags({"evaluation.settings": settings_hash(PIPELINE, PARAMS)})
        assert other.result().parent == training.id


def test_an_evaluation_is_sent_with_its_training_to_the_store_of_the_evaluation(root, workspace, training, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://another")
    assert pending_run_logs(root, "http://another") == []
    log_evaluation(PIPELINE, root, workspace, PARAMS)
    assert pending_run_logs(root, "http://another") == [training.folder]


def test_only_the_parameters_of_sampling_and_evaluation_distinguish_evaluations():
    retrained = {**PARAMS, "train": {"seed": 2}, "model": {"conditional": False}}
    resampled = {**PARAMS, "sample": {"seed": 1, "count": 10}}
    hashes = [settings_hash(PIPELINE, params) for params in (PARAMS, retrained, OTHER_PARAMS, resampled)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
