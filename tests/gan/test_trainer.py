import copy

import pytest
import torch

from dcgan.gan.trainer import Trainer, _Shard, build_networks, variety
from dcgan.params import ModelParams, TrainParams

MODEL = ModelParams(
    conditional=True,
    clusters_per_class=2,
    latent_size=8,
    generator_width=8,
    discriminator_width=8,
    discriminator_norm="none",
    minibatch_std=True,
)
TRAIN = TrainParams(
    seed=1,
    images=640,
    batch_size=16,
    learning_rate=0.001,
    beta1=0.0,
    beta2=0.99,
    decay_from=0.5,
    r1_gamma=0.3,
    r1_every=4,
    ema_half_life=100.0,
    precision="fp32",
    workers=1,
    snapshots=2,
)


def make_trainer(model: dict | None = None, **train) -> Trainer:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (96, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.arange(96, dtype=torch.uint8) % 10
    return Trainer(MODEL.model_copy(update=model or {}), TRAIN.model_copy(update=train), images, labels, "cpu")


def weights_of(network: torch.nn.Module) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in network.parameters()]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_each_update_moves_its_own_network_only(monkeypatch):
    trainer = make_trainer()
    seen = []
    for name in ("_discriminator_adam", "_generator_adam"):
        optimizer = getattr(trainer, name)
        step = optimizer.step

        def watched(name=name, step=step):
            before = weights_of(trainer.generator), weights_of(trainer.discriminator)
            step()
            moved_g = not same(before[0], weights_of(trainer.generator))
            moved_d = not same(before[1], weights_of(trainer.discriminator))
            seen.append((name, moved_g, moved_d))

        monkeypatch.setattr(optimizer, "step", watched)
    trainer.step()
    assert seen == [("_discriminator_adam", False, True), ("_generator_adam", True, False)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_update_equals_plain_adam_for_any_memory_layout_of_the_gradients(workers):
    """Fused Adam pairs weights and gradients by position in memory. A gradient with different strides (as in penalized
    steps) would silently update the wrong weights; plain Adam is the reference."""
    for penalty_every in (1, 10**6):
        trainer = make_trainer(workers=workers, r1_every=penalty_every)
        trainer.step_count = 1
        reference = weights_of(trainer.discriminator)
        for tensor in reference:
            tensor.requires_grad_()
        trainer.step()
        for tensor, gradient in zip(reference, trainer._last[1], strict=True):
            tensor.grad = gradient.clone()
        torch.optim.Adam(reference, 0.001, (0.0, 0.99), foreach=False, fused=False).step()
        for expected, moved in zip(reference, trainer.discriminator.parameters(), strict=True):
            assert torch.allclose(expected, moved, atol=1e-6)


def test_the_generator_learns_from_the_updated_discriminator():
    """Updates alternate: without the discriminator's update, the generator's gradient is a different one."""
    trainer, frozen = make_trainer(), make_trainer()
    frozen._discriminator_adam.step = lambda: None
    trainer.step()
    frozen.step()
    assert not same(weights_of(trainer.generator), weights_of(frozen.generator))


def test_the_same_seed_gives_the_same_bits_and_another_seed_different_ones():
    first, again, other = make_trainer(), make_trainer(), make_trainer(seed=2)
    for _ in range(5):
        for trainer in (first, again, other):
            trainer.step()
    assert same(weights_of(first.generator), weights_of(again.generator))
    assert not same(weights_of(first.generator), weights_of(other.generator))


def test_two_workers_are_deterministic():
    first, again = make_trainer(workers=2), make_trainer(workers=2)
    for _ in range(5):
        first.step()
        again.step()
    assert same(weights_of(first.generator), weights_of(again.generator))


def test_without_batch_statistics_two_workers_compute_the_same_gradient_as_one():
    """The discriminator's first gradient is a mean over the batch, however it is split (rounding: 1e-5 relative)."""
    gradients = []
    for workers in (1, 2):
        trainer = make_trainer(workers=workers, r1_gamma=0.0)
        trainer.generator.eval()  # fixed statistics: no shard depends on the other
        for generator, _ in trainer._replicas:
            generator.eval()
        trainer.step()
        gradients.append(trainer._last[1])
    for one, two in zip(*gradients, strict=True):
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-6)


def test_workers_share_weights_but_not_batch_statistics():
    trainer = make_trainer(workers=2)
    (first, _), (second, _) = trainer._replicas
    assert first.dense.weight is second.dense.weight
    assert first.norm1.running_mean is not second.norm1.running_mean


def test_a_trainer_that_loads_a_state_continues_bit_for_bit():
    whole, start, resumed = make_trainer(workers=2), make_trainer(workers=2), make_trainer(workers=2)
    for _ in range(9):
        whole.step()
    for _ in range(4):
        start.step()
    # contiguous, as read from a file; the live tensors are channels-last
    resumed.load_state({name: tensor.clone().contiguous() for name, tensor in start.state().items()})
    for _ in range(5):
        resumed.step()
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, resumed.state()[name]), name
    assert whole.read_window() == resumed.read_window()


def test_an_epoch_contains_every_image_once_and_drops_no_remainder():
    trainer = make_trainer(images=96 * 5, batch_size=20)
    shown = []
    for _ in range(24):
        shown.append(trainer._next_indices())
        trainer.step_count += 1
    shown = torch.cat(shown)
    for epoch in range(5):
        assert torch.equal(shown[epoch * 96 : (epoch + 1) * 96].sort().values, torch.arange(96))
    assert not torch.equal(shown[:96], shown[96:192])


def test_learning_rate_decays_linearly_to_zero_from_decay_from():
    trainer = make_trainer()  # 40 steps, decay from step 20
    rates = []
    for step in range(40):
        trainer.step_count = step
        trainer._set_learning_rate()
        rates.append(trainer._generator_adam.param_groups[0]["lr"])
    assert rates[:21] == [0.001] * 21
    assert rates[30] == pytest.approx(0.0005)
    assert rates[39] == pytest.approx(0.001 / 20)


def test_ema_weights_follow_the_formula():
    trainer = make_trainer(ema_half_life=16.0)  # one step of 16 images: half
    trainer.step_count = 100  # past the start, where the half-life still grows
    before, now = weights_of(trainer.generator_ema), weights_of(trainer.generator)
    for tensor in trainer.generator.parameters():
        tensor.data += 1
    trainer._average_weights()
    for old, new, averaged in zip(before, now, trainer.generator_ema.parameters(), strict=True):
        assert torch.allclose(averaged, (old + new + 1) / 2, atol=1e-6)


def test_without_averaging_the_finished_generator_is_the_trained_one():
    trainer = make_trainer(ema_half_life=0.0)
    for _ in range(3):
        trainer.step()
    assert same(weights_of(trainer.finished_generator()), weights_of(trainer.generator))


def test_finished_generator_leaves_the_training_unchanged():
    trainer, untouched = make_trainer(), make_trainer()
    for _ in range(3):
        trainer.step()
        untouched.step()
        trainer.finished_generator()
    assert same(weights_of(trainer.generator), weights_of(untouched.generator))


def test_recalibrated_statistics_match_the_ema_generator():
    """On fresh latents, the first BatchNorm of the finished generator gives mean 0 and variance 1, up to the sampling
    error of 2,000 images (about 0.02 standard deviations; without recalibration it is off by over 0.1)."""
    trainer = make_trainer()
    for _ in range(20):
        trainer.step()
    generator = trainer.finished_generator()
    seen = []
    generator.norm1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    generator(torch.randn(2000, 8, generator=torch.Generator().manual_seed(3)), torch.arange(2000) % 10)
    normalized = (seen[0] - generator.norm1.bias[:, None, None]) / generator.norm1.weight[:, None, None]
    assert normalized.mean(dim=(0, 2, 3)).abs().max() < 0.1
    assert (normalized.var(dim=(0, 2, 3)) - 1).abs().max() < 0.15


def test_series_are_means_over_a_window_and_reading_starts_a_new_one():
    trainer = make_trainer()
    for _ in range(8):
        trainer.step()
    values = trainer.read_window()
    assert set(values) == {
        "loss_d",
        "loss_g",
        "acc_real",
        "acc_fake",
        "r1",
        "grad_norm_d",
        "grad_norm_g",
        "variety",
    }
    assert 0 <= values["acc_real"] <= 1
    assert values["r1"] > 0
    assert values["grad_norm_d"] > 0
    trainer.step()
    assert trainer._window_steps == 1


def test_variety_is_one_for_the_reals_and_zero_for_one_image_per_label():
    real = torch.rand(40, 1, 28, 28)
    labels = torch.arange(10).repeat(4)
    identical = _Shard(real, labels, torch.empty(40, 0), fake=real.flip(0)[torch.arange(39, -1, -1)])
    assert float(variety([identical], 1)) == pytest.approx(1, abs=1e-4)
    one_each = _Shard(real, labels, torch.empty(40, 0), fake=real[:10].repeat(4, 1, 1, 1))
    assert float(variety([one_each], 1)) < 1e-3
    no_label_twice = _Shard(real[:10], labels[:10], torch.empty(10, 0), fake=real[10:20])
    assert float(variety([no_label_twice], 1)) == 1


def test_the_first_step_with_a_non_finite_loss_is_reported():
    trainer = make_trainer()
    for _ in range(3):
        trainer.step()
    assert trainer.first_bad_step() is None
    with torch.no_grad():
        trainer.discriminator.logits.bias.fill_(float("nan"))
    for _ in range(4):
        trainer.step()
    assert trainer.first_bad_step() == 3


def test_r1_reduces_the_discriminators_gradients():
    """With 100 times the default weight, the penalty after 40 steps is far below that of a free discriminator."""
    penalties = []
    for gamma in (1e-6, 30.0):
        trainer = make_trainer(r1_gamma=gamma, r1_every=1, decay_from=1.0)
        for _ in range(40):
            trainer.step()
        trainer.read_window()
        trainer.step()
        penalties.append(trainer.read_window()["r1"])
    assert penalties[1] < penalties[0] / 3


@pytest.mark.parametrize(
    "model",
    [
        {"conditional": False},
        {"clusters_per_class": 1},
        {"discriminator_norm": "batch"},
        {"minibatch_std": False},
    ],
)
def test_other_networks_train_too(model):
    trainer = make_trainer(model, workers=2)
    before = weights_of(trainer.generator)
    for _ in range(3):
        trainer.step()
    assert trainer.first_bad_step() is None
    assert not same(before, weights_of(trainer.generator))


def test_the_generator_uses_the_cluster_frequencies_of_the_data():
    trainer = make_trainer()
    counted = torch.bincount(trainer.clusters, minlength=20).view(10, 2)
    below = torch.special.ndtr(trainer.finished_generator().bounds)[:, 0]
    assert torch.allclose(below, counted[:, 0] / counted.sum(dim=1), atol=1e-5)
    assert (below != 0.5).any()  # equal frequencies would prove nothing


def test_the_plain_dcgan_never_sees_a_label():
    images = make_trainer().images[:, 0]
    finished = []
    for labels in (torch.arange(96, dtype=torch.uint8) % 10, torch.zeros(96, dtype=torch.uint8)):
        trainer = Trainer(MODEL.model_copy(update={"conditional": False}), TRAIN, images, labels, "cpu")
        for _ in range(3):
            trainer.step()
        finished.append(weights_of(trainer.finished_generator()))
    assert same(*finished)


def test_bf16_is_close_to_fp32():
    """bf16 has 8 significant bits: the first loss differs, but by less than 2 %."""
    losses = []
    for precision in ("fp32", "bf16"):
        trainer = make_trainer(precision=precision)
        trainer.step()
        losses.append(trainer.read_window()["loss_d"])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_initialization_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    build_networks(MODEL, 1, torch.device("cpu"))
    assert torch.equal(torch.rand(1), expected)


def test_a_changed_state_changes_the_training():
    """The optimizer's moments are really restored: other ones lead to other weights."""
    start = make_trainer(workers=2)
    for _ in range(4):
        start.step()
    state = {name: tensor.clone() for name, tensor in start.state().items()}
    broken = copy.deepcopy(state)
    broken["adam_g.0.exp_avg_sq"] += 1
    trainers = []
    for saved in (state, broken):
        trainers.append(make_trainer(workers=2))
        trainers[-1].load_state(saved)
        trainers[-1].step()
    assert not same(weights_of(trainers[0].generator), weights_of(trainers[1].generator))
