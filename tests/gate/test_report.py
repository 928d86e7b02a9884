"""Reports of comparisons and baselines."""

import json

from gate.examples import SETTINGS, reference, run_with

from dcgan.gate.baseline import build_baseline
from dcgan.gate.compare import compare
from dcgan.gate.markdown import baseline_text, comparison_json, comparison_text, power_text
from dcgan.gate.power import power_of, powers_of


def cells(text: str, name: str) -> list[str]:
    """The row of a table that starts with `name`."""
    return next(line for line in text.splitlines() if line.startswith(f"| {name} |")).strip("| ").split(" | ")


def report(*runs, versions=None) -> str:
    baseline = reference()
    comparison = compare(SETTINGS, baseline, list(runs))
    return comparison_text(SETTINGS, comparison, power_of(SETTINGS, baseline, len(runs)), versions or {})


def test_a_comparison_shows_verdicts_limits_and_the_candidate():
    text = report(run_with(1, distance=4.8))
    assert text.startswith("### Gate: REGRESSION\n\nrun 1 (seed 1) against baseline.")
    distance, diversity = cells(text, "distance"), cells(text, "diversity")
    assert (distance[1], distance[3], distance[5]) == ("lower", "4.8", "**REGRESSION**")
    assert distance[4].startswith("above ") and diversity[4].startswith("below ") and diversity[5] == "same"
    assert report(run_with(1)).startswith("### Gate: fine")


def test_scores_that_every_candidate_has_are_reported():
    text = report(run_with(20, speed=1.0, once=1.0), run_with(21, speed=2.0))
    assert cells(text, "speed") == ["speed", "-", "1.5"]  # the baseline does not have it
    assert "once" not in text


def test_only_versions_that_differ_are_reported():
    baseline = reference()
    baseline.versions.update(numpy="1.0", scipy="2.0")
    comparison = compare(SETTINGS, baseline, [run_with(1)])
    text = comparison_text(SETTINGS, comparison, power_of(SETTINGS, baseline, 1), {"numpy": "1.1", "scipy": "2.0"})
    assert "numpy 1.0 -> 1.1" in text and "scipy" not in text


def test_low_power_is_said_and_high_power_is_not():
    wide = reference()
    wide.values["distance"][:] = [2.4 * factor for factor in (0.7, 1.4, 0.8, 1.3, 0.9, 1.1, 1.0, 1.2)]
    text = power_text(SETTINGS, [power_of(SETTINGS, wide, 1)])
    assert "Too few seeds" in text and "distance worse by 50 % (wanted: 90 %)" in text and "(at most 0.9 %)" in text
    assert "Too few seeds" not in power_text(SETTINGS, [power_of(SETTINGS, reference(), 1)])


def test_a_baseline_shows_its_spread_and_its_power():
    runs = [run_with(seed, distance=value) for seed, value in ((2, 2.0), (3, 3.0), (4, 4.0))]
    baseline = build_baseline(SETTINGS, runs, "c" * 40, [], {})
    baseline = baseline.model_copy(update={"power": powers_of(SETTINGS, reference())})
    text = baseline_text(SETTINGS, baseline)
    assert text.startswith("### Baseline: 3 seeds (2, 3, 4) at cccccccccccc")
    assert cells(text, "distance") == ["distance", "lower", "3", "1", "33.3 %"]
    assert cells(text, "1")[2].endswith(" %")


def test_the_json_holds_what_the_tables_show():
    baseline = reference()
    comparison = compare(SETTINGS, baseline, [run_with(1, distance=4.8)])
    answer = json.loads(json.dumps(comparison_json(comparison, power_of(SETTINGS, baseline, 1)), allow_nan=False))
    assert (answer["exit_code"], answer["verdict"], answer["reference"]) == (1, "REGRESSION", "baseline")
    assert answer["candidates"] == [{"source": "run 1", "seed": 1}]
    assert answer["scores"]["distance"]["verdict"] == "REGRESSION" and answer["scores"]["distance"]["limit"] < 4.8
    assert answer["power"]["candidate_seeds"] == 1
