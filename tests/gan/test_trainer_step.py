"""One step of the training against its formulas: gradients, updates, averages, and the logged series."""

import copy

import pytest
import torch
from gan.test_trainer import make_trainer, same, weights_of
from torch import Tensor

from dcgan.gan.networks import Discriminator, Generator
from dcgan.gan.rendering import placement_loss
from dcgan.gan.trainer import PLACEMENT_WEIGHT, Trainer, _Shard, variety

SERIES = ("loss_d", "loss_g", "acc_real", "acc_fake", "r1")


def by_hand(
    generator: Generator, discriminator: Discriminator, updated: Discriminator, shards: list[_Shard], weight: float
) -> tuple[list[Tensor], list[Tensor], dict[str, float]]:
    """One step in float64, by plain autograd, from the papers: the networks before it, D after its own update.

    D minimizes -E log s(D(x)) - E log(1 - s(D(G(z)))) + weight * E |grad D(x)|^2, G minimizes -E log s(D(G(z))), with
    s = sigmoid (Goodfellow et al. 2014, Mescheder et al. 2018), and with a canvas the placement loss too.
    Returns:
        the gradients of D and of G, and the series; means over the shards.
    """
    generator, discriminator, updated = (copy.deepcopy(net).double() for net in (generator, discriminator, updated))
    gradients_d, gradients_g, series = [], [], []
    for shard in shards:
        images, clusters = shard.real.double().requires_grad_(), shard.clusters
        fakes, boxes = generator.draw(shard.latents.double(), clusters)
        real, fake = discriminator(images, clusters), discriminator(fakes.detach(), clusters)
        (slope,) = torch.autograd.grad(real.sum(), images, create_graph=True)
        penalty = (slope**2).sum() / len(images)
        loss_d = -torch.log(torch.sigmoid(real)).mean() - torch.log(1 - torch.sigmoid(fake)).mean()
        loss_g = -torch.log(torch.sigmoid(updated(fakes, clusters))).mean()
        gradients_d.append(torch.autograd.grad(loss_d + weight * penalty, list(discriminator.parameters())))
        placement = 0 if boxes is None else PLACEMENT_WEIGHT * placement_loss(boxes)
        gradients_g.append(torch.autograd.grad(loss_g + placement, list(generator.parameters())))
        right = (real > 0).double().mean(), (fake < 0).double().mean()
        series.append(torch.stack([loss_d, loss_g, *right, penalty]).detach())
    means = torch.stack(series).mean(dim=0).tolist()
    return _mean(gradients_d), _mean(gradients_g), dict(zip(SERIES, means, strict=True))


def _mean(gradients: list[tuple[Tensor, ...]]) -> list[Tensor]:
    return [torch.stack(parts).mean(dim=0) for parts in zip(*gradients, strict=True)]


def error(found: list[Tensor], expected: list[Tensor]) -> float:
    """Norm of the difference, relative to the norm of `expected`."""
    difference = [a.double() - b for a, b in zip(found, expected, strict=True)]
    return float(torch.nn.utils.get_total_norm(difference) / torch.nn.utils.get_total_norm(expected))


def step_by_hand(trainer: Trainer, weight: float) -> tuple[list[Tensor], list[Tensor], dict[str, float]]:
    """Let `trainer` make a step, and compute the same one by hand."""
    generator, discriminator = copy.deepcopy(trainer.generator), copy.deepcopy(trainer.discriminator)
    trainer.step()
    return by_hand(generator, discriminator, trainer.discriminator, trainer._last[0], weight)


def make_steep_trainer(**train) -> Trainer:
    """A discriminator with doubled weights, as if it had learned: the penalty is no longer lost beside the loss."""
    trainer = make_trainer(**train)
    torch._foreach_mul_([tensor.detach() for tensor in trainer.discriminator.parameters()], 2)
    return trainer


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("gamma", "every"), [(0.3, 1), (2.0, 2)])
def test_gradients_are_those_of_the_papers_objectives(workers, gamma, every):
    """The penalty has the weight gamma / 2, times the number of steps from one penalty to the next."""
    trainer = make_steep_trainer(workers=workers, r1_gamma=gamma, r1_every=every)
    for step in range(3):
        expected_d, expected_g, _ = step_by_hand(trainer, gamma / 2 * every if step % every == 0 else 0.0)
        # float32 rounds to 1e-6; a gray level of the canvas that it rounds to the other side moves a digit a little
        assert error(trainer._last[1], expected_d) < 1e-3
        assert error(trainer._last[2], expected_g) < 1e-4


@pytest.mark.parametrize("workers", [1, 2])
def test_batch_norm_in_the_discriminator_sees_real_and_generated_images_apart(workers):
    """As in the generator's update, where it sees generated images only. In one batch, D would learn to compare the two
    halves, and then call any batch of nothing but fakes real: the generator would learn nothing."""
    trainer = make_trainer({"discriminator_norm": "batch"}, workers=workers, r1_gamma=0.0)
    for _ in range(3):
        expected, _, _ = step_by_hand(trainer, 0.0)
        assert error(trainer._last[1], expected) < 0.01  # one batch of both: 0.8; a unit that rounds to 0: 3e-4


@pytest.mark.parametrize("factor", [0, 0.5, 2])
def test_another_weight_of_the_penalty_is_visible_in_the_gradient(factor):
    """The test above would see a wrong factor."""
    trainer = make_steep_trainer(r1_gamma=0.3, r1_every=1)
    expected, _, _ = step_by_hand(trainer, factor * 0.15)
    assert error(trainer._last[1], expected) > 0.01


def test_without_a_penalty_its_gradient_is_never_computed(monkeypatch):
    monkeypatch.setattr("dcgan.gan.trainer.r1_penalty", None)  # a call would raise
    trainer = make_trainer(r1_gamma=0.0, r1_every=1)
    trainer.step()
    assert "r1" not in trainer.pop_window()


def test_every_step_has_fresh_latents_and_the_images_of_its_turn():
    trainer, drawn = make_trainer(workers=2), []
    for _ in range(10):
        indices = trainer._next_indices()
        trainer.step()
        shards = trainer._last[0]
        assert torch.equal(torch.cat([shard.real for shard in shards]), trainer.images[indices] / 127.5 - 1)
        assert torch.equal(torch.cat([shard.clusters for shard in shards]), trainer.clusters[indices])
        drawn += [shard.latents for shard in shards]
    drawn = torch.cat(drawn)
    assert drawn.shape == (160, 8) and len(drawn.unique(dim=0)) == 160
    # Mean and variance of 1,280 draws from N(0, 1): standard errors 0.028 and 0.040.
    assert abs(float(drawn.mean())) < 0.14 and abs(float(drawn.var()) - 1) < 0.2
    other = make_trainer(workers=2, seed=2)
    other.step()
    assert not torch.equal(other._last[0][0].latents, drawn[:8])


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
    assert not torch.equal(shown[:20], make_trainer(images=96 * 5, batch_size=20, seed=2)._next_indices())


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
@pytest.mark.parametrize("penalty_every", [1, 10**6])
def test_updates_equal_plain_adam_at_the_decayed_rate_for_any_memory_layout_of_the_gradients(workers, penalty_every):
    """Fused Adam pairs weights and gradients by position in memory. A gradient with different strides (as in penalized
    steps) would silently update the wrong weights; plain Adam is the reference, for both networks."""
    trainer = make_trainer(workers=workers, r1_every=penalty_every, beta1=0.5, beta2=0.9)
    trainer.step_count = 24  # of 40, the last 20 with a falling rate
    networks = {1: trainer.discriminator, 2: trainer.generator}  # by the position of their gradients in `_last`
    references = {index: weights_of(network) for index, network in networks.items()}
    optimizers = {
        index: torch.optim.Adam([tensor.requires_grad_() for tensor in weights], 0.001, (0.5, 0.9), fused=False)
        for index, weights in references.items()
    }
    for remaining in (16, 15, 14):
        trainer.step()
        for index, optimizer in optimizers.items():
            optimizer.param_groups[0]["lr"] = 0.001 * remaining / 20
            for tensor, gradient in zip(references[index], trainer._last[index], strict=True):
                tensor.grad = gradient.clone()
            optimizer.step()
            for expected, moved in zip(references[index], networks[index].parameters(), strict=True):
                assert torch.allclose(expected, moved, atol=1e-6)


def test_the_generator_learns_from_the_updated_discriminator():
    """Updates alternate: without the discriminator's update, the generator's gradient is a different one."""
    trainer, frozen = make_trainer(), make_trainer()
    frozen._discriminator_adam.step = lambda: None
    trainer.step()
    frozen.step()
    assert not same(weights_of(trainer.generator), weights_of(frozen.generator))


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


@pytest.mark.parametrize("decay_from", [0.0, 0.5, 1.0])
def test_the_learning_rate_of_both_optimizers_decays_linearly_to_zero_from_decay_from(decay_from):
    trainer = make_trainer(decay_from=decay_from, images=320)  # 20 steps
    for step in range(20):
        trainer.step()
        factor = min(1.0, (1 - step / 20) / (1 - decay_from)) if decay_from < 1 else 1.0
        for optimizer in (trainer._generator_adam, trainer._discriminator_adam):
            assert optimizer.param_groups[0]["lr"] == pytest.approx(0.001 * factor)


@pytest.mark.parametrize(("step", "half_life"), [(0, 0), (1, 0.8), (60, 48), (1000, 100)])
def test_ema_weights_follow_the_formula(step, half_life):
    """A step of 16 images moves the average by 1 - 0.5^(16 / half-life); 5 % of the images seen, up to 100 of them, are
    the half-life. The first step replaces the average."""
    trainer = make_trainer(images=64_000, ema_half_life=100.0)
    trainer.step_count = step
    for tensor in trainer.generator_ema.parameters():
        tensor += 1  # clearly another network
    before = weights_of(trainer.generator_ema)
    trainer.step()
    moved = 1 - 0.5 ** (16 / half_life) if half_life else 1.0
    averages = zip(before, trainer.generator.parameters(), trainer.generator_ema.parameters(), strict=True)
    for old, new, average in averages:
        assert torch.allclose(average, old + moved * (new - old), atol=1e-6)


def test_the_calibrated_ema_generator_has_the_averaged_weights():
    trainer = make_trainer()
    for _ in range(10):
        trainer.step()
    finished = trainer.calibrated_ema_generator()
    assert not finished.training
    assert same(weights_of(finished), weights_of(trainer.generator_ema.half().float()))
    assert not same(weights_of(finished), weights_of(trainer.generator.half().float()))


def test_without_averaging_the_calibrated_ema_generator_is_the_trained_one():
    trainer = make_trainer(ema_half_life=0.0)
    for _ in range(3):
        trainer.step()
    assert same(weights_of(trainer.calibrated_ema_generator()), weights_of(trainer.generator.half().float()))


@pytest.mark.parametrize("workers", [1, 2])
def test_series_are_means_over_the_steps_of_a_window_and_r1_over_the_penalized_ones(workers):
    trainer = make_steep_trainer(workers=workers, r1_every=4)
    for steps, penalized in ((5, 2), (4, 1), (2, 0)):  # penalties at the steps 0, 4 and 8
        expected = []
        for _ in range(steps):
            weight = 0.6 if trainer.step_count % 4 == 0 else 0.0
            expected.append(step_by_hand(trainer, weight)[2] | {"penalized": weight > 0})
        values = trainer.pop_window()
        for name in SERIES[:-1]:
            assert values[name] == pytest.approx(sum(row[name] for row in expected) / steps, rel=1e-4), name
        penalties = [row["r1"] for row in expected if row["penalized"]]
        assert len(penalties) == penalized
        assert values.get("r1") == (pytest.approx(sum(penalties) / penalized, rel=1e-4) if penalized else None)


@pytest.mark.parametrize(("bias", "real", "fake"), [(100.0, 1.0, 0.0), (-100.0, 0.0, 1.0)])
def test_accuracies_are_the_fractions_of_reals_and_of_fakes_that_are_recognized(bias, real, fake):
    trainer = make_trainer()
    torch.nn.init.constant_(trainer.discriminator.logits.bias, bias)  # everything is real, or everything is fake
    trainer.step()
    values = trainer.pop_window()
    assert (values["acc_real"], values["acc_fake"]) == (real, fake)


def test_gradient_norms_and_variety_are_those_of_the_last_step():
    trainer = make_trainer(workers=2)
    for _ in range(3):
        trainer.step()
    shards, *gradients = trainer._last
    values = trainer.pop_window()
    for name, gradient in zip(("grad_norm_d", "grad_norm_g"), gradients, strict=True):
        assert values[name] == pytest.approx(float(torch.cat([part.flatten() for part in gradient]).norm()), rel=1e-5)
    assert values["variety"] == pytest.approx(float(variety(shards, 2)))
    assert set(values) == {*SERIES, "grad_norm_d", "grad_norm_g", "variety"}


def test_variety_is_one_for_the_reals_and_zero_for_one_image_per_label():
    real = torch.rand(40, 1, 28, 28)
    labels = torch.arange(10).repeat(4)
    identical = _Shard(real, labels, torch.empty(40, 0), fake=real.flip(0)[torch.arange(39, -1, -1)])
    assert float(variety([identical], 1)) == pytest.approx(1, abs=1e-4)
    one_each = _Shard(real, labels, torch.empty(40, 0), fake=real[:10].repeat(4, 1, 1, 1))
    assert float(variety([one_each], 1)) < 1e-3
    no_label_twice = _Shard(real[:10], labels[:10], torch.empty(10, 0), fake=real[10:20])
    assert float(variety([no_label_twice], 1)) == 1


def test_variety_is_the_ratio_of_the_distances_from_the_labels_mean():
    """Fakes at half the distance from their label's mean; two clusters make a label, and the work is split in two.

    The clusters of a label are far apart in the reals, and mixed in the fakes: they do not count, only the label does.
    """
    clusters = torch.arange(20).repeat(2)
    real = (torch.rand(40, 1, 28, 28) + (clusters % 2)[:, None, None, None]) / 2
    means = torch.stack([real[clusters // 2 == label].mean(dim=0) for label in range(10)])
    fake = (real + means[clusters // 2]) / 2
    fake = fake.view(2, 10, 2, 1, 28, 28).transpose(0, 2).reshape(40, 1, 28, 28)
    parts = zip(real.chunk(2), clusters.chunk(2), fake.chunk(2), strict=True)
    shards = [_Shard(images, own, torch.empty(20, 0), fake=fakes) for images, own, fakes in parts]
    assert float(variety(shards, 2)) == pytest.approx(0.5, abs=1e-4)


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
        trainer.pop_window()
        trainer.step()
        penalties.append(trainer.pop_window()["r1"])
    assert penalties[1] < penalties[0] / 3
