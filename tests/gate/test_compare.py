"""Limits and verdicts."""

import math
from dataclasses import replace

import numpy as np
import pytest
from gate.examples import (
    CONTEXT,
    DISTANCE,
    DIVERSITY,
    MEANS,
    RATE_PER_SCORE,
    SETTINGS,
    drawn_run,
    reference,
    reference_of,
    regressed,
    run_with,
)
from scipy import stats

from dcgan.gate.baseline import Estimate, reference_from_run
from dcgan.gate.compare import compare, tolerance, verdict_of
from dcgan.gate.runs import NotComparable, Run
from dcgan.gate.settings import GatedScore

WITHOUT_FLOOR = GatedScore("x", "lower", "linear", absolute=0.0, relative=0.0)


def test_tolerance_is_the_one_sided_prediction_interval():
    expected = stats.t.ppf(0.99, 4) * 0.3 * math.sqrt(1 / 5 + 1 / 2)
    assert tolerance(WITHOUT_FLOOR, Estimate(10.0, 0.3, 5, 5), 2, 0.01) == pytest.approx(expected, rel=1e-12)
    expected = stats.t.ppf(0.99, 7) * 0.3 * math.sqrt(1 / 1 + 1 / 2)  # a single run with a borrowed spread
    assert tolerance(WITHOUT_FLOOR, Estimate(10.0, 0.3, 1, 8), 2, 0.01) == pytest.approx(expected, rel=1e-12)


def test_tolerance_is_never_below_the_floor():
    score = GatedScore("x", "higher", "linear", absolute=0.5, relative=0.1)
    assert tolerance(score, Estimate(2.0, 0.0, 5, 5), 1, 0.01) == pytest.approx(0.5)  # absolute
    assert tolerance(score, Estimate(20.0, 0.0, 5, 5), 1, 0.01) == pytest.approx(2.0)  # relative


@pytest.mark.parametrize(
    ("worse_by", "verdict"),
    [
        (-0.3001, "improved"),
        (-0.2999, "same"),
        (0.0999, "same"),
        (0.1001, "worse within noise"),
        (0.2999, "worse within noise"),
        (0.3001, "REGRESSION"),
    ],
)
def test_verdicts_change_at_their_boundaries(worse_by, verdict):
    assert verdict_of(worse_by, allowed=0.3, floor=0.1) == verdict


@pytest.mark.parametrize("score", SETTINGS.scores, ids=lambda score: score.name)
def test_each_gated_score_fails_beyond_its_limit_and_only_there(score):
    baseline = reference()
    limit = next(
        compared.limit for compared in compare(SETTINGS, baseline, [run_with(1)]).scores if compared.score is score
    )
    assert (limit - MEANS[score.name]) * score.worse_sign > 0  # the limit lies on the worse side
    for factor, failed in ((1 - 1e-6, False), (1 + 1e-6, True)):
        value = limit * (factor if score.worse_sign > 0 else 2 - factor)
        comparison = compare(SETTINGS, baseline, [run_with(1, **{score.name: value})])
        verdicts = {compared.score.name: compared.verdict for compared in comparison.scores}
        assert comparison.failed is failed
        assert verdicts.pop(score.name) == ("REGRESSION" if failed else "worse within noise")
        assert set(verdicts.values()) == {"same"}


def test_a_much_better_score_is_improved_and_does_not_hide_a_worse_one():
    comparison = compare(SETTINGS, reference(), [run_with(1, distance=1.2, diversity=0.5)])
    verdicts = {compared.score.name: compared.verdict for compared in comparison.scores}
    assert verdicts["distance"] == "improved" and verdicts["diversity"] == "REGRESSION" and comparison.failed


def test_the_limit_of_a_log_score_scales_with_the_score():
    baseline = reference()
    values = {**baseline.values, "distance": [10 * value for value in baseline.values["distance"]]}
    scaled = replace(baseline, values=values, spread_values=values)
    limits = [compare(SETTINGS, either, [run_with(1)]).scores[0].limit for either in (baseline, scaled)]
    assert limits[1] == pytest.approx(10 * limits[0], rel=1e-12)


def test_more_candidate_seeds_bring_the_limit_closer():
    limits = [compare(SETTINGS, reference(), [run_with(20 + i) for i in range(n)]).scores[0].limit for n in (1, 2, 4)]
    assert limits[0] > limits[1] > limits[2] > MEANS["distance"]


def test_several_candidate_seeds_count_by_their_mean():
    compared = compare(SETTINGS, reference(), [run_with(20, distance=2.0), run_with(21, distance=2.9)]).scores
    assert compared[0].candidate == pytest.approx(math.sqrt(2.0 * 2.9))  # geometric on a log scale
    compared = compare(SETTINGS, reference(), [run_with(20, diversity=0.80), run_with(21, diversity=0.90)]).scores
    assert compared[1].candidate == pytest.approx(0.85)


def test_runs_that_are_not_comparable_are_refused():
    with pytest.raises(NotComparable, match="seed 3, which is in the baseline"):
        compare(SETTINGS, reference(), [run_with(3)])
    with pytest.raises(NotComparable, match="both trained with seed 1"):
        compare(SETTINGS, reference(), [run_with(1), run_with(1)])
    with pytest.raises(NotComparable, match=r"epochs is 1 in run .* but 90 in"):
        compare(SETTINGS, reference(), [replace(run_with(1), context={**CONTEXT, "epochs": 1})])


def test_a_baseline_without_a_finite_limit_is_refused():
    runs = [run_with(seed, distance=value) for seed, value in ((2, 1e-300), (3, 1.0), (4, 1e100))]
    with pytest.raises(NotComparable, match="distance differs so much between seeds that no candidate could fail"):
        compare(SETTINGS, reference_of(runs), [run_with(1)])


def test_a_model_without_labels_is_gated_on_the_scores_that_it_has():
    context = {**CONTEXT, "labeled": False}
    scores = {name: MEANS[name] for name in ("distance", "diversity")}
    runs = [Run(f"run {seed}", seed, context, scores) for seed in range(1, 6)]
    compared = compare(SETTINGS, reference_of(runs[1:]), runs[:1]).scores
    assert [one.score for one in compared] == [DISTANCE, DIVERSITY]
    assert {one.verdict for one in compared} == {"same"}


def test_a_single_run_as_reference_borrows_the_spread():
    baseline = reference()
    single = reference_from_run(SETTINGS, run_with(1), baseline)
    assert single.values["distance"] == [2.4] and single.spread_values is baseline.spread_values
    compared = compare(SETTINGS, single, [run_with(1)]).scores[0]  # the same seed before and after: a fair pair
    std = np.std(np.log(baseline.values["distance"]), ddof=1)
    expected = 2.4 * math.exp(stats.t.ppf(1 - RATE_PER_SCORE, 7) * std * math.sqrt(2))
    assert compared.limit == pytest.approx(expected, rel=1e-9)


def test_the_gate_keeps_both_rates_when_everything_is_measured_again():
    """The whole path from runs to verdict, with a new baseline and a new candidate in each round."""
    generator = np.random.default_rng(11)
    rounds, false_alarms, detected = 1500, 0, 0
    for _ in range(rounds):
        baseline = reference_of([drawn_run(seed, generator) for seed in range(2, 12)])
        candidate = drawn_run(1, generator)
        false_alarms += compare(SETTINGS, baseline, [candidate]).failed
        detected += compare(SETTINGS, baseline, [regressed(candidate)]).scores[0].verdict == "REGRESSION"
    # exact: 0.9 % and, by the noncentral t with 10 seeds and a spread of 6 %, 98.0 %;
    # four standard errors of 1,500 rounds are 1.0 % and 1.5 %
    assert 0 < false_alarms / rounds < 0.019
    assert detected / rounds == pytest.approx(0.980, abs=0.015)


def failures(runs: np.ndarray) -> np.ndarray:
    """Whether the last run of each row fails against the others, without a floor: [draws, n + 1] -> [draws]."""
    n = runs.shape[1] - 1
    mean, std = runs[:, :n].mean(axis=1), runs[:, :n].std(axis=1, ddof=1)
    return runs[:, n] - mean > tolerance(WITHOUT_FLOOR, Estimate(0.0, std, n, n), 1, RATE_PER_SCORE)


def test_fully_correlated_scores_cause_fewer_false_alarms():
    """Four scores that are copies of one another fail together, so in as many runs as a single one."""
    draws = 100_000
    failed = failures(np.random.default_rng(3).normal(0, 1, (draws, 9)))
    assert failed.mean() == pytest.approx(RATE_PER_SCORE, abs=4 * math.sqrt(RATE_PER_SCORE / draws))


@pytest.mark.parametrize(("freedom", "rate"), [(10, 0.0158), (5, 0.0260)])
def test_tails_heavier_than_normal_raise_the_false_alarm_rate_as_documented(freedom, rate):
    """The limits assume normal scores; Student-distributed ones fail more often (docs/gate.md)."""
    draws = 400_000
    alone = failures(np.random.default_rng(4).standard_t(freedom, (draws, 11))).mean()
    # four standard errors of the rate of one score, times the four scores
    assert 1 - (1 - alone) ** len(SETTINGS.scores) == pytest.approx(rate, abs=16 * math.sqrt(alone / draws))
