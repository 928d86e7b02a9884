"""The run around the trainer: cadence, resuming, health, stopping."""

import numpy as np
import pytest
import torch
from gan.test_trainer import make_trainer

from dcgan import training
from dcgan.gan.checkpoint import load_newest_checkpoint
from dcgan.gan.training_loop import Diverged, fingerprint, has_settled, run_training, summary
from dcgan.support.stop_signals import Interrupted, StopRequest
from dcgan.tracking.run_log import RunLog


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr("dcgan.trainer.RECALIBRATION_IMAGES", 250)
    monkeypatch.setattr(training, "CHECKPOINT_AT_LEAST_S", 0.0)
    monkeypatch.setattr(training, "CHECKPOINT_SHARE", 1e9)  # after each step


def run(tmp_path, trainer, record=None, stop=None):
    record = record or RunLog.create(tmp_path, "test")
    return run_training(trainer, tmp_path / "run", record, stop or StopRequest())


def stop_after(trainer, steps: int) -> StopRequest:
    stop, step = StopRequest(), trainer.step

    def counted() -> None:
        step()
        if trainer.step_count == steps:
            stop.make("SIGTERM", 143)

    trainer.step = counted
    return stop


def test_a_run_logs_draws_and_ends_with_its_budget(tmp_path):
    trainer = make_trainer(snapshots=3)
    progress = run(tmp_path, trainer)
    assert trainer.images_seen == 640
    assert [row["step"] for row in progress.rows] == list(range(1, 41))
    assert sorted(progress.snapshots) == [0, 320, 640]
    assert all(images.shape == (100, 28, 28) for images in progress.snapshots.values())
    told = summary(progress, trainer)
    assert told["steps"] == 40
    assert told["loss_d"] == pytest.approx(np.mean([row["loss_d"] for row in progress.rows[-4:]]), abs=1e-4)


def test_an_interrupted_run_resumes_to_the_same_bytes_and_points(tmp_path):
    whole_record = RunLog.create(tmp_path / "a", "test")
    whole = make_trainer(workers=2)
    expected = run(tmp_path / "a", whole, whole_record)

    record = RunLog.create(tmp_path / "b", "test")
    for steps in (13, 29):
        trainer = make_trainer(workers=2)
        with pytest.raises(Interrupted, match=f"stopped by SIGTERM at {16 * steps} of 640") as caught:
            run(tmp_path / "b", trainer, record, stop_after(trainer, steps))
        assert caught.value.exit_code == 143
    resumed = make_trainer(workers=2)
    progress = run(tmp_path / "b", resumed, record)

    for name, tensor in whole.state().items():
        assert torch.equal(tensor, resumed.state()[name]), name
    assert progress.rows == expected.rows
    for seen, images in expected.snapshots.items():
        assert np.array_equal(images, progress.snapshots[seen])
    assert record.told("point") == whole_record.told("point")
    assert record.told("image") == whole_record.told("image")


def test_a_killed_run_repeats_its_last_steps_without_doubling_a_point(tmp_path, monkeypatch):
    """kill -9 loses the steps since the last checkpoint, not what they told: telling them again adds nothing."""
    record = RunLog.create(tmp_path, "test")
    killed = make_trainer()
    step = killed.step

    def die_at_twenty() -> None:
        if killed.step_count == 10:
            monkeypatch.setattr(training, "CHECKPOINT_SHARE", 1e-9)  # no further checkpoint
        if killed.step_count == 20:
            raise KeyboardInterrupt  # stands for the kill: no clean-up of ours runs on it
        step()

    killed.step = die_at_twenty
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, killed, record)
    assert int(load_newest_checkpoint(tmp_path / "run").tensors["progress"][0]) < 20
    run(tmp_path, make_trainer(), record)
    events = [event for event, _ in record.events() if event["event"] == "points"]
    steps = [event["step"] for event in events]
    assert steps == sorted(set(steps))
    assert len(steps) == 40


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_state(tmp_path):
    trainer = make_trainer()
    step = trainer.step

    def poisoned() -> None:
        if trainer.step_count == 12:
            with torch.no_grad():
                trainer.discriminator.logits.bias.fill_(float("inf"))
        step()

    trainer.step = poisoned
    with pytest.raises(Diverged, match=r"not finite since step 12 \(192 images\).*last good state is kept"):
        run(tmp_path, trainer)
    kept = load_newest_checkpoint(tmp_path / "run")
    assert int(kept.tensors["progress"][0]) == 12
    assert all(torch.isfinite(tensor).all() for tensor in kept.tensors.values())


def rows(count: int, **values: float) -> list[dict[str, float]]:
    usual = {"acc_real": 0.6, "acc_fake": 0.6, "variety": 0.95}
    return [{"step": i, "images": 64 * i} | usual | values for i in range(count)]


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"acc_real": 1.0, "acc_fake": 0.995}, "the discriminator has won"),
        ({"variety": 0.3}, "the generator has collapsed"),
        ({}, None),
        ({"acc_real": 1.0, "acc_fake": 0.8}, None),
    ],
)
def test_a_bad_balance_is_said_once(tmp_path, capsys, values, warning):
    around = training._Run(make_trainer(), tmp_path, RunLog.create(tmp_path, "test"))
    around.trainer.step_count = 10_000
    around.progress.rows = rows(5, **values)
    around._warn_of_bad_health()
    around._warn_of_bad_health()
    said = capsys.readouterr().err
    assert said.count("warning:") == (1 if warning else 0)
    assert len(around.progress.warnings) == (1 if warning else 0)
    assert warning is None or warning in said


def test_losses_that_explode_end_the_run(tmp_path):
    """A hundred times the learning rate that the default has: finite numbers, and nothing to be learned from them."""
    with pytest.raises(Diverged, match=r"exploded by step \d+ \(.* images\).*lower train.learning_rate"):
        run(tmp_path, make_trainer(learning_rate=0.2, images=6_400))


def test_a_collapsed_generator_is_noticed_in_a_real_run(tmp_path, monkeypatch, capsys):
    """A generator whose output layer is stuck draws one picture for all latents: variety is 0."""
    monkeypatch.setattr(training, "HEALTH_FROM_IMAGES", 0)
    trainer = make_trainer()
    with torch.no_grad():
        trainer.generator.up3.weight.zero_()
    trainer._generator_adam.step = lambda: None
    run(tmp_path, trainer)
    assert "the generator has collapsed" in capsys.readouterr().err


def test_a_drop_in_speed_is_said_with_its_remedy(capsys, monkeypatch):
    clock = iter(np.cumsum([0.0] + [3.0] * 12 + [9.0] * 4))
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(clock)))
    watch = training._SpeedWatch()
    for _ in range(16):
        watch.note_window(1000)
    said = capsys.readouterr().err
    assert said.count("fell to 111 images/s from 333") == 1
    assert "train.workers" in said


def test_settled_means_at_rest():
    moving = rows(100)
    for i, row in enumerate(moving):
        row["acc_real"] = row["acc_fake"] = 0.5 + i / 300
    assert has_settled(rows(100))
    assert not has_settled(moving)


def test_fingerprints_tell_works_apart():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
