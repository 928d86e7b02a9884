"""False-alarm rate and detection power: against exact distributions, and against a simulation of the gate's rule."""

import math
from dataclasses import replace

import numpy as np
import pytest
from gate.examples import DISTANCE, DIVERSITY, RATE_PER_SCORE, SETTINGS, WITHOUT_FLOORS, reference, run_with
from scipy import stats

from dcgan.gate.baseline import Estimate, reference_from_run
from dcgan.gate.compare import tolerance
from dcgan.gate.power import failure_probability, plan, power_of, powers_of, target_size
from dcgan.gate.settings import GatedScore, TargetRegression

BARE = GatedScore("x", "lower", "linear", absolute=0.0, relative=0.0)


def simulated(score: GatedScore, truth: Estimate, n_candidate: int, worse_by: float, draws: int = 200_000) -> float:
    """How often a candidate fails when baseline and candidate are drawn again and the gate's rule is applied."""
    generator = np.random.default_rng(0)

    def runs(count: int) -> np.ndarray:
        return generator.normal(truth.mean, truth.std, (draws, count))

    baseline = runs(truth.n_mean)
    spread = baseline if truth.n_mean == truth.n_std else runs(truth.n_std)
    stds = spread.std(axis=1, ddof=1)
    difference = score.worse_sign * (runs(n_candidate).mean(axis=1) - baseline.mean(axis=1)) + worse_by
    return float(np.mean(difference > tolerance(score, replace(truth, std=stds), n_candidate, RATE_PER_SCORE)))


@pytest.mark.parametrize("seeds", [(3, 3, 1), (8, 8, 2), (12, 12, 1), (1, 8, 1)])
@pytest.mark.parametrize("worse_by", [0.0, 0.2, 0.4055])
def test_without_a_floor_it_is_the_noncentral_t_distribution(seeds, worse_by):
    n_mean, n_std, n_candidate = seeds
    shift = worse_by / (0.07 * math.sqrt(1 / n_mean + 1 / n_candidate))
    exact = stats.nct.sf(stats.t.ppf(1 - RATE_PER_SCORE, n_std - 1), n_std - 1, shift)
    found = failure_probability(BARE, Estimate(1.0, 0.07, n_mean, n_std), n_candidate, RATE_PER_SCORE, worse_by)
    assert found == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("seeds", [(5, 5, 1), (12, 12, 2), (1, 8, 1)], ids=str)
@pytest.mark.parametrize("worse_by", [0.0, 0.1, 0.3])
@pytest.mark.parametrize(
    ("score", "mean"),
    [
        (replace(BARE, absolute=0.1), 1.0),
        (replace(BARE, direction="higher", absolute=0.2), 1.0),
        (DISTANCE, math.log(1.35)),
    ],
    ids=["floor about the noise", "floor above the noise", "log scale"],
)
def test_with_a_floor_it_agrees_with_a_simulation(score, mean, seeds, worse_by):
    n_mean, n_std, n_candidate = seeds
    truth = Estimate(mean, 0.05, n_mean, n_std)
    exact = failure_probability(score, truth, n_candidate, RATE_PER_SCORE, worse_by)
    # four standard errors of a fraction of 200,000 draws; 2e-5: one draw per side where the probability is about zero
    error = 4 * math.sqrt(exact * (1 - exact) / 200_000) + 2e-5
    assert simulated(score, truth, n_candidate, worse_by) == pytest.approx(exact, abs=error)


def test_without_floors_the_false_alarm_rate_is_that_of_the_settings():
    for seeds in (1, 2, 3):
        rate = power_of(WITHOUT_FLOORS, reference(), seeds).false_alarm_rate
        assert rate == pytest.approx(SETTINGS.false_alarm_rate, rel=1e-4)


def test_a_single_reference_run_has_the_same_false_alarm_rate_and_less_power():
    baseline = reference()
    single = reference_from_run(SETTINGS, run_with(1), baseline)
    power = power_of(WITHOUT_FLOORS, single, 1)
    assert power.false_alarm_rate == pytest.approx(SETTINGS.false_alarm_rate, rel=1e-4)
    assert power.detection_power < power_of(WITHOUT_FLOORS, baseline, 1).detection_power


def test_floors_only_lower_the_false_alarm_rate():
    assert (
        power_of(SETTINGS, reference(), 2).false_alarm_rate < power_of(WITHOUT_FLOORS, reference(), 2).false_alarm_rate
    )


def test_the_figures_follow_the_spread_of_the_baseline():
    narrow, wide = reference(), reference()
    wide.values["distance"][:] = [2.4 * factor for factor in (0.7, 1.4, 0.8, 1.3, 0.9, 1.1, 1.0, 1.2)]
    narrow_power, wide_power = power_of(SETTINGS, narrow, 1), power_of(SETTINGS, wide, 1)
    assert narrow_power.detection_power > 0.9 > 0.5 > wide_power.detection_power
    assert max(narrow_power.false_alarm_rate, wide_power.false_alarm_rate) <= 0.01


def test_a_score_without_any_spread_fails_beyond_its_floor_only():
    constant = Estimate(0.99, 0.0, 5, 5)
    assert failure_probability(DIVERSITY, constant, 1, RATE_PER_SCORE, worse_by=0.0) == 0
    assert failure_probability(DIVERSITY, constant, 1, RATE_PER_SCORE, worse_by=0.011) == pytest.approx(1)


def test_figures_are_given_up_to_the_candidate_seeds_that_are_enough():
    baseline = reference()
    baseline.values["distance"][:] = [2.4 * math.exp(0.09 * z) for z in (-1.3, -0.9, -0.4, 0, 0.2, 0.5, 0.8, 1.5)]
    powers = powers_of(SETTINGS, baseline)
    assert len(powers) > 1
    enough = [power.detection_power >= SETTINGS.target.target_power for power in powers]
    assert enough == [False] * (len(powers) - 1) + [True]
    assert [power.candidate_seeds for power in powers] == list(range(1, len(powers) + 1))


def test_target_regression_of_a_score_where_higher_is_better():
    settings = replace(SETTINGS, target=TargetRegression("diversity", factor=0.95, target_power=0.9))
    assert target_size(settings, DIVERSITY, mean=0.8) == pytest.approx(0.04)
    baseline = reference()
    std = np.std(baseline.values["diversity"], ddof=1)
    shift = 0.05 * np.mean(baseline.values["diversity"]) / (std * math.sqrt(1 / 8 + 1))
    exact = stats.nct.sf(stats.t.ppf(1 - RATE_PER_SCORE, 7), 7, shift)
    bare = replace(settings, scores=WITHOUT_FLOORS.scores)
    assert power_of(bare, baseline, 1).detection_power == pytest.approx(exact, rel=1e-4)


def test_the_plan_gives_the_power_at_each_spread():
    rows = plan(SETTINGS, (8, 10), (1, 2), (0.05, 0.08))
    assert [row[:2] for row in rows] == [(8, 1), (8, 2), (10, 1), (10, 2)]
    shift = math.log(1.5) / (0.08 * math.sqrt(1 / 10 + 1 / 2))
    exact = stats.nct.sf(stats.t.ppf(1 - RATE_PER_SCORE, 9), 9, shift)
    assert rows[3][2][1] == pytest.approx(exact, rel=1e-4)
    assert all(narrow > wide for _, _, (narrow, wide) in rows)
