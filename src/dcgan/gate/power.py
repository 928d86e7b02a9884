"""False-alarm rate and detection power of the gate, computed from its own rule."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from scipy.special import ndtr

from dcgan.gate.baseline import Estimate, Power, Reference
from dcgan.gate.compare import noise_factor, tolerance
from dcgan.gate.settings import GatedScore, GateSettings

MAX_CANDIDATE_SEEDS = 5
ESTIMATED_STDS = np.linspace(0.001, 6, 6000)  # in units of the true standard deviation


def failure_probability(
    score: GatedScore, truth: Estimate, n_candidate: int, false_alarm_rate: float, worse_by: float
) -> float:
    """The probability that a candidate fails on this score, when baseline and candidate are both measured again.

    The estimated standard deviation follows a scaled chi distribution, independent of the means: this is the normal
    probability of exceeding the limit, averaged over that distribution on a grid. Without a floor it is the tail of
    the noncentral t distribution; `scipy.stats.nct` cannot include a floor.

    Args:
        truth: mean and standard deviation, on the score's scale, taken as the true ones, and the numbers of runs that
            estimate them.
        false_alarm_rate: the rate used to set the limit.
        worse_by: how much worse the candidate truly is, on the score's scale; 0 for an unchanged model.
    """
    freedom = truth.n_std - 1
    log_density = (freedom - 1) * np.log(ESTIMATED_STDS) - freedom * ESTIMATED_STDS**2 / 2
    weights = np.exp(log_density - log_density.max())
    measured = replace(truth, std=truth.std * ESTIMATED_STDS)
    allowed = tolerance(score, measured, n_candidate, false_alarm_rate)
    noise = max(truth.std * noise_factor(truth.n_mean, n_candidate), 1e-12)  # equal values have no spread
    return float(np.average(ndtr((worse_by - allowed) / noise), weights=weights))


def target_size(settings: GateSettings, score: GatedScore, mean: float) -> float:
    """Size of the target regression on the score's scale, from a baseline mean on that scale."""
    regressed = score.to_scale(settings.target.factor * score.from_scale(mean))
    return float(score.worse_sign * (regressed - mean))


def power_of(settings: GateSettings, reference: Reference, n_candidate: int) -> Power:
    """Both figures for a comparison with this reference, whose measured spreads are taken as the true ones.

    The false-alarm rate is the sum over the gated scores, an upper bound whatever their correlation (Bonferroni). The
    detection power counts only the score of the target regression, though such a model is likely to fail on others too.
    """
    rate = settings.false_alarm_rate_per_score(reference.context)
    false_alarms, power = 0.0, 0.0
    for score in settings.gated(reference.context):
        truth = reference.estimate(score)
        false_alarms += failure_probability(score, truth, n_candidate, rate, worse_by=0.0)
        if score.name == settings.target.score:
            power = failure_probability(score, truth, n_candidate, rate, target_size(settings, score, truth.mean))
    return Power(candidate_seeds=n_candidate, false_alarm_rate=false_alarms, detection_power=power)


def powers_of(settings: GateSettings, reference: Reference) -> list[Power]:
    """The figures for 1, 2, ... candidate seeds, up to the number that reaches the target power."""
    powers: list[Power] = []
    for n_candidate in range(1, MAX_CANDIDATE_SEEDS + 1):
        powers.append(power_of(settings, reference, n_candidate))
        if settings.target.is_detected(powers[-1].detection_power):
            break
    return powers


def plan(
    settings: GateSettings, baselines: Iterable[int], candidates: Iterable[int], spreads: Iterable[float]
) -> list[tuple[int, int, list[float]]]:
    """Detection power by the numbers of baseline and candidate seeds: (baseline, candidate, power at each spread).

    Args:
        spreads: standard deviations of the score of the target regression, as fractions of its mean.

    The floor is left out, so that this holds for any mean; it matters only where the noise is small beside it.
    """
    score = next(score for score in settings.scores if score.name == settings.target.score)
    bare = replace(score, absolute=0.0, relative=0.0)
    mean = float(bare.to_scale(1.0))
    size = target_size(settings, bare, mean)
    rate = settings.false_alarm_rate / len(settings.scores)
    candidates, spreads = list(candidates), list(spreads)
    return [
        (n, m, [failure_probability(bare, Estimate(mean, spread, n, n), m, rate, size) for spread in spreads])
        for n in baselines
        for m in candidates
    ]
