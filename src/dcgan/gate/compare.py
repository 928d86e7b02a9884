"""How much worse is more than noise, and the verdict. Pure: values in, values out."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import stdtrit

from dcgan.gate.baseline import Estimate, Reference
from dcgan.gate.runs import NotComparable, Run, check_context, check_seeds
from dcgan.gate.settings import GatedScore, GateSettings

Verdict = Literal["improved", "same", "worse within noise", "REGRESSION"]


@dataclass(frozen=True)
class ScoreComparison:
    """One gated score of reference and candidate; values in the score's unit."""

    score: GatedScore
    mean: float
    std: float
    candidate: float  # the mean over its seeds (geometric on a log scale)
    limit: float  # worse than this fails
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    reference: Reference
    candidates: list[Run]
    scores: list[ScoreComparison]

    @property
    def failed(self) -> bool:
        return any(row.verdict == "REGRESSION" for row in self.scores)


def noise_factor(n_reference: int, n_candidate: int) -> float:
    """Standard deviation of the difference of two means, in units of the standard deviation of one run."""
    return math.sqrt(1 / n_reference + 1 / n_candidate)


def tolerance(score: GatedScore, reference: Estimate, n_candidate: int, false_alarm_rate: float) -> Any:
    """How much worse than the reference's mean a candidate's mean may be, on the score's scale.

    A one-sided prediction interval for the mean of n_candidate further runs, t-quantile * std * sqrt(1 / n_mean +
    1 / n_candidate), at least the score's floor (Hahn & Meeker, Statistical Intervals, 1991). It assumes that the
    runs are independent and normal on that scale. An array as `reference.std` gives an array.

    Args:
        false_alarm_rate: the rate for this score alone.
    """
    quantile = stdtrit(reference.n_std - 1, 1 - false_alarm_rate)
    noise = quantile * reference.std * noise_factor(reference.n_mean, n_candidate)
    return np.maximum(noise, score.floor(reference.mean))


def verdict_of(worse_by: float, allowed: float, floor: float) -> Verdict:
    """All three on the score's scale; a positive `worse_by` is worse. Only more than `allowed` is a regression."""
    if worse_by > allowed:
        return "REGRESSION"
    if worse_by > floor:
        return "worse within noise"
    return "improved" if worse_by < -allowed else "same"


def compare(settings: GateSettings, reference: Reference, candidates: list[Run]) -> Comparison:
    """The verdict on each gated score of the candidate, whose runs differ in their seed alone.

    Raises:
        NotComparable: a context differs, a candidate's seed is in the baseline or there twice, or the spread over
            seeds is too large for a limit.
    """
    for run in candidates:
        check_context(settings, run, reference.context, reference.label)
    check_seeds(candidates, reference.seeds)
    rate = settings.false_alarm_rate_per_score(reference.context)
    scores = [_compare_score(score, reference, candidates, rate) for score in settings.gated(reference.context)]
    return Comparison(reference, candidates, scores)


def _compare_score(
    score: GatedScore, reference: Reference, candidates: list[Run], false_alarm_rate: float
) -> ScoreComparison:
    estimate = reference.estimate(score)
    candidate = float(np.mean(score.to_scale([run.scores[score.name] for run in candidates])))
    allowed = float(tolerance(score, estimate, len(candidates), false_alarm_rate))
    with np.errstate(over="ignore"):
        limit = float(score.from_scale(estimate.mean + score.worse_sign * allowed))
    if not math.isfinite(limit):
        raise NotComparable(
            f"{reference.label}: {score.name} differs so much between seeds that no candidate could fail; measure a "
            "new baseline"
        )
    return ScoreComparison(
        score=score,
        mean=float(np.mean(reference.values[score.name])),
        std=float(np.std(reference.spread_values[score.name], ddof=1)),
        candidate=float(score.from_scale(candidate)),
        limit=limit,
        verdict=verdict_of(score.worse_sign * (candidate - estimate.mean), allowed, score.floor(estimate.mean)),
    )
