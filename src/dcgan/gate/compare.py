"""The gate: how much worse is more than noise, and the verdict. Pure: values in, values out."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import stdtrit

from dcgan.gate.baseline import Reference, Run, check_context, check_seeds
from dcgan.gate.thresholds import FALSE_ALARMS, Score, gated_scores

Verdict = Literal["improved", "same", "worse within noise", "REGRESSION"]


@dataclass(frozen=True)
class Row:
    """A gated score of the comparison; values in the score's unit."""

    score: Score
    mean: float
    std: float
    candidate: float  # with several seeds their mean (geometric on a log scale)
    limit: float  # worse than this fails
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    reference: Reference
    candidates: list[Run]
    rows: list[Row]

    @property
    def failed(self) -> bool:
        return any(row.verdict == "REGRESSION" for row in self.rows)


def tolerance(
    score: Score, center: Any, std: Any, n_reference: int, n_spread: int, n_candidate: int, alarms: float
) -> Any:
    """How much worse a candidate's mean may be, on the score's scale.

    A one-sided prediction interval: t-quantile * std * sqrt(1/n_reference + 1/n_candidate), at least the score's floor.

    Args:
        center, std: of the reference, on the scale; scalars or arrays of one shape.
        n_spread: the number of values behind `std`.
        alarms: the share of false alarms allowed for this score alone.
    """
    noise = stdtrit(n_spread - 1, 1 - alarms) * std * math.sqrt(1 / n_reference + 1 / n_candidate)
    return np.maximum(noise, score.floor(center))


def verdict_of(worse_by: float, allowed: float, floor: float) -> Verdict:
    """`worse_by` on the scale, positive is worse. Only more than `allowed` is a regression."""
    if worse_by > allowed:
        return "REGRESSION"
    if worse_by > floor:
        return "worse within noise"
    return "improved" if worse_by < -allowed else "same"


def compare(reference: Reference, candidates: list[Run]) -> Comparison:
    """The verdict on each gated score of the candidate, whose runs differ in their seed alone.

    Raises:
        UserError: a context differs, or a candidate's seed is in the baseline or there twice.
    """
    for run in candidates:
        check_context(run, reference.context, reference.label)
    check_seeds(candidates, reference.seeds)
    gated = gated_scores(reference.context)
    rows = [_row(score, reference, candidates, FALSE_ALARMS / len(gated)) for score in gated]
    return Comparison(reference, candidates, rows)


def _row(score: Score, reference: Reference, candidates: list[Run], alarms: float) -> Row:
    values, spread = reference.values[score.name], reference.spread_values[score.name]
    center = float(np.mean(score.to_scale(values)))
    std = float(np.std(score.to_scale(spread), ddof=1))
    candidate = float(np.mean(score.to_scale([run.scores[score.name] for run in candidates])))
    allowed = float(tolerance(score, center, std, len(values), len(spread), len(candidates), alarms))
    verdict = verdict_of(score.worse * (candidate - center), allowed, float(score.floor(center)))
    return Row(
        score=score,
        mean=float(np.mean(values)),
        std=float(np.std(spread, ddof=1)),
        candidate=float(score.from_scale(candidate)),
        limit=float(score.from_scale(center + score.worse * allowed)),
        verdict=verdict,
    )
