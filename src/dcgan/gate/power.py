"""What the gate promises: how often it cries wolf, and how often it sees one. By simulation of the gate's own rule."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dcgan.gate.baseline import Power, Reference
from dcgan.gate.compare import tolerance
from dcgan.gate.thresholds import FALSE_ALARMS, GATED, WORSE_FID, Score, gated_scores

DRAWS = 100_000  # standard error 0.03 % at 1 % false alarms, 0.1 % at 90 % caught
MOST_CANDIDATES = 5


@dataclass(frozen=True)
class Seeds:
    """How many runs stand behind the reference's mean, its spread, and the candidate."""

    reference: int
    spread: int
    candidate: int
    own_spread: bool  # mean and spread come from the same runs


@dataclass(frozen=True)
class Truth:
    """A score's distribution over seeds: normal on the score's scale."""

    score: Score
    center: float
    std: float


def simulate(truths: list[Truth], seeds: Seeds, draws: int = DRAWS) -> Power:
    """Redraw baseline and candidate many times and apply the gate's rule to each.

    Scores are drawn independently of one another. For false alarms that is the careful assumption: scores that
    move together alarm together, and so in fewer runs. A caught run is one that FID's own verdict fails; the help
    of the other scores, which a damaged model would give too, is not counted.
    """
    generator = np.random.default_rng(0)
    failed = np.zeros(draws, dtype=bool)
    caught = np.zeros(draws, dtype=bool)
    for truth in truths:
        worse_by, allowed = _redraw(truth, seeds, FALSE_ALARMS / len(truths), draws, generator)
        failed |= worse_by > allowed
        if truth.score.name == "relative_fid":
            damage = truth.score.to_scale(WORSE_FID * truth.score.from_scale(truth.center)) - truth.center
            caught |= worse_by + damage > allowed
    return Power(candidate_seeds=seeds.candidate, false_alarms=float(failed.mean()), caught=float(caught.mean()))


def _redraw(
    truth: Truth, seeds: Seeds, alarms: float, draws: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """How much worse an unchanged candidate comes out, and what is allowed: [draws] each, on the scale."""

    def runs(count: int) -> np.ndarray:
        return generator.normal(truth.center, truth.std, (draws, count))

    reference = runs(seeds.reference)
    spread = reference if seeds.own_spread else runs(seeds.spread)
    center, std = reference.mean(axis=1), spread.std(axis=1, ddof=1)
    worse_by = truth.score.worse * (runs(seeds.candidate).mean(axis=1) - center)
    return worse_by, tolerance(truth.score, center, std, seeds.reference, seeds.spread, seeds.candidate, alarms)


def power_of(reference: Reference, candidate_seeds: int) -> Power:
    """Both figures for a comparison with this reference, taking its measured spreads for the true ones."""
    truths = []
    for score in gated_scores(reference.context):
        spread = score.to_scale(reference.spread_values[score.name])
        center = float(np.mean(score.to_scale(reference.values[score.name])))
        truths.append(Truth(score, center, float(np.std(spread, ddof=1))))
    first = truths[0].score.name
    seeds = Seeds(
        len(reference.values[first]), len(reference.spread_values[first]), candidate_seeds, reference.own_spread
    )
    return simulate(truths, seeds)


def powers_of(reference: Reference) -> list[Power]:
    """The figures for 1, 2, ... candidate seeds, up to the number that keeps both promises."""
    powers: list[Power] = []
    while len(powers) < MOST_CANDIDATES and not (powers and powers[-1].enough):
        powers.append(power_of(reference, len(powers) + 1))
    return powers


def plan(baselines: Iterable[int], candidates: Iterable[int], spreads: Iterable[float]) -> list[list[str]]:
    """Rows of a table: baseline seeds, candidate seeds, false alarms, how often a worse FID is caught at each spread.

    Floors are left out (they only lower the false alarms), so this holds for scores of any size.
    """
    candidates, spreads = list(candidates), list(spreads)
    bare = [Score(score.name, score.direction, score.scale, absolute=0.0, relative=0.0) for score in GATED]
    rows = []
    for reference in baselines:
        for candidate in candidates:
            seeds = Seeds(reference, reference, candidate, own_spread=True)
            alarms = simulate([Truth(score, 0.0, 1.0) for score in bare], seeds).false_alarms  # the same at any spread
            # a fifth of the draws: shares of about 90 % are known well enough by them
            powers = [simulate([Truth(score, 0.0, spread) for score in bare], seeds, DRAWS // 5) for spread in spreads]
            rows.append(
                [str(reference), str(candidate), f"{100 * alarms:.2f} %", *(f"{100 * p.caught:.0f} %" for p in powers)]
            )
    return rows
