"""The run around the trainer: logging, resuming, warnings, stopping."""

import time

import numpy as np
import pytest
import torch
from gan.test_trainer import make_trainer

from dcgan.gan import training_loop
from dcgan.gan.checkpoint import load_newest_checkpoint
from dcgan.gan.training_loop import Diverged, run_training
from dcgan.support.stop_signals import Interrupted, StopRequest
from dcgan.tracking.run_log import RunLog


@pytest.fixture(autouse=True)
def checkpoint_after_every_step(monkeypatch):
    monkeypatch.setattr("dcgan.gan.finished_generator.RECALIBRATION_IMAGES", 250)
    monkeypatch.setattr(training_loop, "CHECKPOINT_INTERVAL_S", 0.0)
    monkeypatch.setattr(training_loop, "CHECKPOINT_TIME_FRACTION", 1e9)


def run(tmp_path, trainer, run_log=None, stop=None):
    run_log = run_log or RunLog.create(tmp_path, "test")
    return run_training(trainer, tmp_path / "run", run_log, stop or StopRequest())


def logged(run_log: RunLog, name: str) -> list[tuple]:
    """(series, step) of every logged point or image, in order."""
    events = [event for event, _ in run_log.events() if event["event"] == name]
    return [(series, event["step"]) for event in events for series in event.get("values", [event.get("key")])]


def stop_after(trainer, steps: int) -> StopRequest:
    stop, step = StopRequest(), trainer.step

    def counted() -> None:
        step()
        if trainer.step_count == steps:
            stop.make("SIGTERM", 143)

    trainer.step = counted
    return stop


def test_a_run_logs_draws_snapshots_and_ends_with_its_budget(tmp_path):
    trainer = make_trainer(snapshots=3)
    history = run(tmp_path, trainer)
    assert trainer.images_seen == 640
    assert [row["step"] for row in history.rows] == list(range(1, 41))
    assert sorted(history.snapshots) == [0, 320, 640]
    assert all(images.shape == (100, 28, 28) for images in history.snapshots.values())


def test_an_interrupted_run_resumes_to_the_same_bytes_and_points(tmp_path):
    whole_log = RunLog.create(tmp_path / "a", "test")
    whole = make_trainer(workers=2)
    expected = run(tmp_path / "a", whole, whole_log)

    run_log = RunLog.create(tmp_path / "b", "test")
    for steps in (13, 29):
        trainer = make_trainer(workers=2)
        with pytest.raises(Interrupted, match=f"stopped by SIGTERM at {16 * steps} of 640") as caught:
            run(tmp_path / "b", trainer, run_log, stop_after(trainer, steps))
        assert caught.value.exit_code == 143
    resumed = make_trainer(workers=2)
    history = run(tmp_path / "b", resumed, run_log)

    for name, tensor in whole.state().items():
        assert torch.equal(tensor, resumed.state()[name]), name
    assert history.rows == expected.rows
    for seen, images in expected.snapshots.items():
        assert np.array_equal(images, history.snapshots[seen])
    assert logged(run_log, "points") == logged(whole_log, "points")
    assert logged(run_log, "image") == logged(whole_log, "image") != []


def test_a_killed_run_repeats_its_last_steps_without_logging_a_point_twice(tmp_path, monkeypatch):
    """kill -9 loses the steps since the last checkpoint, but not their points: logging those again adds nothing."""
    run_log = RunLog.create(tmp_path, "test")
    killed = make_trainer()
    step = killed.step

    def die_at_twenty() -> None:
        if killed.step_count == 10:
            monkeypatch.setattr(training_loop, "CHECKPOINT_TIME_FRACTION", 1e-9)  # no further checkpoint
        if killed.step_count == 20:
            raise KeyboardInterrupt  # in place of a kill: nothing in run_training handles it
        step()

    killed.step = die_at_twenty
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, killed, run_log)
    assert int(load_newest_checkpoint(tmp_path / "run").tensors["counters"][0]) < 20
    run(tmp_path, make_trainer(), run_log)
    steps = [step for series, step in logged(run_log, "points") if series == "train/loss_d"]
    assert steps == list(range(16, 641, 16))


def test_checkpoints_take_at_most_one_percent_of_the_time_on_a_slow_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "CHECKPOINT_TIME_FRACTION", 0.01)
    monkeypatch.setattr(training_loop, "save_checkpoint", lambda *_: time.sleep(0.1))
    loop = training_loop._TrainingRun(make_trainer(), tmp_path, RunLog.create(tmp_path, "test"))
    loop.save()
    assert loop.checkpoint_due - time.monotonic() > 5  # 10, unless this line came late


def test_a_resumed_run_keeps_its_warnings_and_does_not_repeat_them(tmp_path, capsys):
    loops = [training_loop._TrainingRun(make_trainer(), tmp_path, RunLog.create(tmp_path, "test")) for _ in range(2)]
    loops[0]._warn("the generator has collapsed")
    loops[0].save()
    loops[1].resume()
    loops[1]._warn("the generator has collapsed")
    assert loops[1].history.warnings == ["the generator has collapsed"]
    assert capsys.readouterr().err.count("warning:") == 1


@pytest.mark.parametrize("log_points", [200, 1])
def test_a_non_finite_loss_ends_the_run_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch, log_points):
    """With one log window over the whole run, only the checkpoints look at the losses before its end."""
    monkeypatch.setattr(training_loop, "LOG_POINTS", log_points)
    trainer = make_trainer()
    step = trainer.step

    def poisoned() -> None:
        if trainer.step_count == 12:
            with torch.no_grad():
                trainer.discriminator.logits.bias.fill_(float("inf"))
        step()

    trainer.step = poisoned
    with pytest.raises(
        Diverged, match=r"stopped being finite at step 12 \(192 images\).*checkpoint from before, if any, is kept"
    ):
        run(tmp_path, trainer)
    kept = load_newest_checkpoint(tmp_path / "run")
    assert int(kept.tensors["counters"][0]) == 12
    assert all(torch.isfinite(tensor).all() for tensor in kept.tensors.values())


@pytest.mark.parametrize("r1_gamma", [1e36, 1.25e37, 5e37])
def test_an_overflow_of_a_gradient_alone_ends_the_run(tmp_path, r1_gamma):
    """The losses stay finite, but their series could not be saved: JSON has no infinity."""
    with pytest.raises(Diverged, match=r"grad_norm_d is inf at step 1 \(16 images\).*lower train.r1_gamma"):
        run(tmp_path, make_trainer(r1_gamma=r1_gamma, r1_every=1))


def test_all_points_are_on_the_disk_before_a_checkpoint_that_follows_them(tmp_path, monkeypatch):
    """After a power loss, a training run resumes behind its checkpoint and never logs the points before it again."""
    run_log = RunLog.create(tmp_path, "test")
    synced, sync, save = [0], run_log.sync, training_loop.save_checkpoint

    def watched_sync() -> None:
        sync()
        synced.append(run_log.size())

    def watched_save(*arguments) -> None:
        assert synced[-1] == run_log.size()
        save(*arguments)

    monkeypatch.setattr(run_log, "sync", watched_sync)
    monkeypatch.setattr(training_loop, "save_checkpoint", watched_save)
    run(tmp_path, make_trainer(), run_log)
    assert len(set(synced)) > 30


def test_a_finished_run_is_resumed_at_its_last_step_to_the_same_result(tmp_path):
    """Its outputs can be written again without training: no step is repeated and no point is added."""
    run_log = RunLog.create(tmp_path, "test")
    whole = make_trainer()
    expected = run(tmp_path, whole, run_log)
    size = run_log.size()
    again = make_trainer()
    again.step = None
    history = run(tmp_path, again, run_log)
    assert run_log.size() == size
    assert (history.rows, history.snapshots.keys()) == (expected.rows, expected.snapshots.keys())
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, again.state()[name]), name


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
def test_an_unhealthy_training_is_reported_once(tmp_path, capsys, values, warning):
    loop = training_loop._TrainingRun(make_trainer(), tmp_path, RunLog.create(tmp_path, "test"))
    loop.trainer.step_count = 10_000
    loop.history.rows = rows(5, **values)
    loop._check_health()
    loop._check_health()
    printed = capsys.readouterr().err
    assert printed.count("warning:") == (1 if warning else 0)
    assert len(loop.history.warnings) == (1 if warning else 0)
    assert warning is None or warning in printed


def test_exploding_losses_end_the_run(tmp_path):
    """A learning rate of 100 times the default gives finite but useless losses."""
    with pytest.raises(Diverged, match=r"exploded by step \d+ \(.* images\).*lower train.learning_rate"):
        run(tmp_path, make_trainer(learning_rate=0.2, images=6_400))


def test_a_collapsed_generator_is_reported_in_a_real_run(tmp_path, monkeypatch, capsys):
    """A generator whose output layer is stuck at zero draws the same image for all latents: variety is 0."""
    monkeypatch.setattr(training_loop, "HEALTH_FROM_IMAGES", 0)
    trainer = make_trainer()
    with torch.no_grad():
        trainer.generator.up3.weight.zero_()
    trainer._generator_adam.step = lambda: None
    run(tmp_path, trainer)
    assert "the generator has collapsed" in capsys.readouterr().err


def test_a_drop_in_speed_is_reported_with_a_remedy(capsys, monkeypatch):
    clock = iter(np.cumsum([0.0] + [3.0] * 12 + [9.0] * 4))
    monkeypatch.setattr(training_loop.time, "monotonic", lambda: float(next(clock)))
    speed = training_loop._SpeedMonitor()
    for _ in range(16):
        speed.add_window(1000)
    printed = capsys.readouterr().err
    assert printed.count("slowed down from 333 to 111 images/s") == 1
    assert "train.workers" in printed
