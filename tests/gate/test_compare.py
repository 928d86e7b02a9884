"""The gate's arithmetic: limits, verdicts, and what it promises."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dcgan.gate.baseline import Run, build_baseline, reference_of, reference_of_run
from dcgan.gate.compare import compare, tolerance, verdict_of
from dcgan.gate.power import Seeds, Truth, power_of, powers_of, simulate
from dcgan.gate.thresholds import FALSE_ALARMS, GATED, Score
from dcgan.support.errors import UserError

CONTEXT = {
    "protocol_version": 1,
    "features_sha256": "ab",
    "n_generated": 10000,
    "n_real": 10000,
    "n_samples": 60000,
    "class_mix": "mnist",
    "sample_seed": 1000,
    "evaluate_seed": 2000,
    "conditional": True,
    "images": 720000,
    "device": "cpu",
    "precision": "bf16",
}
MEANS = {"relative_fid": 2.4, "recall": 0.87, "label_accuracy": 0.985, "cas": 0.986}
SPREADS = {"relative_fid": 0.06 * 2.4, "recall": 0.006, "label_accuracy": 0.0012, "cas": 0.0011}
ALARMS = FALSE_ALARMS / len(GATED)
FID, RECALL = GATED[0], GATED[1]


def run_with(seed: int, **scores: float) -> Run:
    return Run(f"run {seed}", seed, CONTEXT, {**MEANS, **scores})


def drawn_run(seed: int, generator: np.random.Generator) -> Run:
    scores = {name: generator.normal(MEANS[name], SPREADS[name]) for name in MEANS}
    scores["relative_fid"] = MEANS["relative_fid"] * math.exp(generator.normal(0, 0.06))
    return run_with(seed, **scores)


def baseline_of(runs: list[Run]):
    return reference_of(build_baseline(runs, "0" * 40, [], {}), "baseline")


def reference(count: int = 8):
    generator = np.random.default_rng(5)
    return baseline_of([drawn_run(2 + i, generator) for i in range(count)])


def test_tolerance_is_the_one_sided_prediction_interval():
    score = Score("x", "lower", "linear", absolute=0.0, relative=0.0)
    expected = stats.t.ppf(0.99, 4) * 0.3 * math.sqrt(1 / 5 + 1 / 2)
    assert tolerance(score, 10.0, 0.3, 5, 5, 2, 0.01) == pytest.approx(expected, rel=1e-12)


def test_tolerance_is_never_below_the_floor():
    linear = Score("x", "higher", "linear", absolute=0.5, relative=0.1)
    assert tolerance(linear, 2.0, 0.0, 5, 5, 1, 0.01) == pytest.approx(0.5)  # absolute
    assert tolerance(linear, 20.0, 0.0, 5, 5, 1, 0.01) == pytest.approx(2.0)  # relative
    log = Score("x", "lower", "log", absolute=0.5, relative=0.1)
    assert tolerance(log, math.log(2.0), 0.0, 5, 5, 1, 0.01) == pytest.approx(math.log(2.5 / 2))
    assert tolerance(log, math.log(20.0), 0.0, 5, 5, 1, 0.01) == pytest.approx(math.log(1.1))


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


@pytest.mark.parametrize("score", GATED, ids=lambda score: score.name)
def test_each_gated_score_fails_beyond_its_limit_and_only_there(score):
    known = reference()
    limit = next(row.limit for row in compare(known, [run_with(1)]).rows if row.score is score)
    assert (limit - MEANS[score.name]) * score.worse > 0  # the limit lies on the worse side
    for factor, failed in ((1 - 1e-6, False), (1 + 1e-6, True)):
        value = limit * (factor if score.worse > 0 else 2 - factor)
        comparison = compare(known, [run_with(1, **{score.name: value})])
        verdicts = {row.score.name: row.verdict for row in comparison.rows}
        assert comparison.failed is failed
        assert verdicts.pop(score.name) == ("REGRESSION" if failed else "worse within noise")
        assert set(verdicts.values()) == {"same"}


def test_a_much_better_score_is_improved_and_does_not_hide_a_worse_one():
    comparison = compare(reference(), [run_with(1, relative_fid=1.2, recall=0.5)])
    verdicts = {row.score.name: row.verdict for row in comparison.rows}
    assert verdicts["relative_fid"] == "improved" and verdicts["recall"] == "REGRESSION" and comparison.failed


def test_the_limit_of_fid_scales_with_fid():
    known = reference()
    scaled = replace(known, values={**known.values}, spread_values={})
    scaled.values["relative_fid"] = [10 * value for value in known.values["relative_fid"]]
    scaled = replace(scaled, spread_values=scaled.values)
    limits = [compare(ref, [run_with(1)]).rows[0].limit for ref in (known, scaled)]
    assert limits[1] == pytest.approx(10 * limits[0], rel=1e-12)


def test_more_candidate_seeds_bring_the_limit_closer():
    limits = [compare(reference(), [run_with(20 + i) for i in range(n)]).rows[0].limit for n in (1, 2, 4)]
    assert limits[0] > limits[1] > limits[2] > MEANS["relative_fid"]


def test_false_alarms_and_power_agree_with_the_exact_distributions():
    """Without floors each score fails by Student's t, and a worse FID is caught by the noncentral t."""
    truths = [Truth(replace(score, absolute=0.0, relative=0.0), 0.0, 0.07) for score in GATED]
    power = simulate(truths, Seeds(8, 8, 2, own_spread=True))
    exact = 1 - (1 - ALARMS) ** 4
    shift = math.log(1.5) / (0.07 * math.sqrt(1 / 8 + 1 / 2))
    caught = 1 - stats.nct.cdf(stats.t.ppf(1 - ALARMS, 7), 7, shift)
    # four standard errors of a share of 100,000 draws
    assert power.false_alarms == pytest.approx(exact, abs=4 * math.sqrt(exact / 1e5))
    assert power.caught == pytest.approx(caught, abs=4 * math.sqrt(caught * (1 - caught) / 1e5))


def test_a_single_reference_run_keeps_the_false_alarms_too():
    truths = [Truth(replace(score, absolute=0.0, relative=0.0), 0.0, 0.05) for score in GATED]
    power = simulate(truths, Seeds(1, 8, 1, own_spread=False))
    exact = 1 - (1 - ALARMS) ** 4
    assert power.false_alarms == pytest.approx(exact, abs=4 * math.sqrt(exact / 1e5))


def test_the_gate_itself_keeps_the_promise_when_everything_is_redrawn():
    """The whole path of `dcgan check`, not its simulation: new baseline and new candidate each time."""
    generator = np.random.default_rng(11)
    rounds, alarms, caught = 1500, 0, 0
    for _ in range(rounds):
        known = baseline_of([drawn_run(seed, generator) for seed in range(2, 12)])
        candidate = drawn_run(1, generator)
        damaged = replace(
            candidate, scores={**candidate.scores, "relative_fid": 1.5 * candidate.scores["relative_fid"]}
        )
        alarms += compare(known, [candidate]).failed
        caught += compare(known, [damaged]).rows[0].verdict == "REGRESSION"
    # exact: 0.9 % and, by the noncentral t with 10 seeds and a spread of 6 %, 98.0 %;
    # four standard errors of 1,500 rounds are 1.0 % and 1.5 %
    assert 0 < alarms / rounds < 0.019
    assert caught / rounds == pytest.approx(0.980, abs=0.015)


def test_scores_that_move_together_raise_no_more_false_alarms():
    """All four scores driven by one and the same luck: alarms coincide, so runs fail less often."""
    generator = np.random.default_rng(3)
    draws, n = 100_000, 8
    runs = generator.normal(0, 1, (draws, n + 1))
    center, std = runs[:, :n].mean(axis=1), runs[:, :n].std(axis=1, ddof=1)
    bare = Score("x", "lower", "linear", 0.0, 0.0)
    failed = runs[:, n] - center > tolerance(bare, center, std, n, n, 1, ALARMS)
    assert failed.mean() == pytest.approx(ALARMS, abs=4 * math.sqrt(ALARMS / draws))  # of one score, and so of all


@pytest.mark.parametrize(("freedom", "alarms"), [(10, 0.0158), (5, 0.0260)])
def test_heavier_tails_than_normal_cost_what_the_docs_say(freedom, alarms):
    """The rule assumes normal spreads; Student-distributed ones fail more often (docs/gate.md)."""
    generator = np.random.default_rng(4)
    draws, n = 400_000, 10
    runs = generator.standard_t(freedom, (draws, n + 1))
    center, std = runs[:, :n].mean(axis=1), runs[:, :n].std(axis=1, ddof=1)
    bare = Score("x", "lower", "linear", 0.0, 0.0)
    alone = np.mean(runs[:, n] - center > tolerance(bare, center, std, n, n, 1, ALARMS))
    # four standard errors of the share of one score, times the four scores
    assert 1 - (1 - alone) ** len(GATED) == pytest.approx(alarms, abs=16 * math.sqrt(alone / draws))


def test_figures_of_a_baseline_come_from_its_own_spreads():
    calm, wild = reference(), reference()
    spread = [2.4 * factor for factor in (0.7, 1.4, 0.8, 1.3, 0.9, 1.1, 1.0, 1.2)]
    wild.values["relative_fid"][:] = spread
    assert power_of(calm, 1).caught > 0.9 > 0.5 > power_of(wild, 1).caught
    assert power_of(calm, 1).false_alarms <= 0.01 and power_of(wild, 1).false_alarms <= 0.01


def test_figures_are_given_up_to_the_candidate_seeds_that_are_enough():
    known = reference()
    known.values["relative_fid"][:] = [2.4 * math.exp(0.09 * z) for z in (-1.3, -0.9, -0.4, 0, 0.2, 0.5, 0.8, 1.5)]
    powers = powers_of(known)
    assert len(powers) > 1
    assert [power.enough for power in powers] == [False] * (len(powers) - 1) + [True]
    assert [power.candidate_seeds for power in powers] == list(range(1, len(powers) + 1))


def test_a_baseline_holds_mean_spread_and_count():
    runs = [run_with(seed, relative_fid=value, kid_x1000=1.0) for seed, value in ((2, 2.0), (3, 3.0), (4, 4.0))]
    baseline = build_baseline(runs, "c" * 40, ["train.images=5"], {"torch": "1"})
    fid = baseline.scores["relative_fid"]
    assert (fid.mean, fid.std, fid.n, fid.direction, fid.values) == (3.0, 1.0, 3, "lower", [2.0, 3.0, 4.0])
    assert baseline.scores["recall"].direction == "higher" and baseline.scores["kid_x1000"].direction is None
    assert baseline.seeds == [2, 3, 4] and baseline.context == CONTEXT


def test_a_baseline_refuses_too_few_equal_or_different_runs():
    with pytest.raises(UserError, match="at least 3 seeds"):
        build_baseline([run_with(2), run_with(3)], "", [], {})
    with pytest.raises(UserError, match="both trained with seed 2"):
        build_baseline([run_with(2), run_with(2), run_with(3)], "", [], {})
    other = replace(run_with(4), context={**CONTEXT, "images": 1})
    with pytest.raises(UserError, match="images is 1 and not 720000"):
        build_baseline([run_with(2), run_with(3), other], "", [], {})


def test_a_plain_model_is_gated_on_the_scores_that_it_has():
    context = {**CONTEXT, "conditional": False}
    scores = {name: MEANS[name] for name in ("relative_fid", "recall")}
    runs = [Run(f"run {seed}", seed, context, scores) for seed in range(1, 6)]
    rows = compare(baseline_of(runs[1:]), runs[:1]).rows
    assert [row.score for row in rows] == [FID, RECALL]
    assert {row.verdict for row in rows} == {"same"}


def test_a_single_run_as_reference_borrows_the_spread():
    known = reference()
    single = reference_of_run(run_with(1), known)
    assert not single.own_spread and single.values["relative_fid"] == [2.4]
    row = compare(single, [run_with(1)]).rows[0]  # the same seed before and after a change is a fair pair
    std = np.std(np.log(known.values["relative_fid"]), ddof=1)
    expected = 2.4 * math.exp(stats.t.ppf(1 - ALARMS, 7) * std * math.sqrt(2))
    assert row.limit == pytest.approx(expected, rel=1e-9)
