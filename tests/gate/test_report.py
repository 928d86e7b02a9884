"""Reports of comparisons and baselines."""

import dataclasses
import json

from gate.examples import SETTINGS, reference, run_with

from dcgan.gate.baseline import build_baseline
from dcgan.gate.compare import compare
from dcgan.gate.power import power_of, powers_of
from dcgan.gate.report import Report, baseline_report, comparison_json, comparison_report

TOO_FEW_SEEDS = "Too few seeds to detect distance worse by 50 % reliably: "


def cells(text: str, name: str) -> list[str]:
    """The row of a table that starts with `name`."""
    return next(line for line in text.splitlines() if line.startswith(f"| {name} |")).strip("| ").split(" | ")


def report(*runs, baseline=None, versions=None) -> Report:
    baseline = baseline or reference()
    comparison = compare(SETTINGS, baseline, list(runs))
    return comparison_report(SETTINGS, comparison, power_of(SETTINGS, baseline, len(runs)), versions or {})


def test_a_comparison_shows_verdicts_limits_and_the_candidate():
    text = report(run_with(1, distance=4.8)).markdown()
    assert text.startswith("### Gate: REGRESSION\n\nrun 1 (seed 1) against baseline.")
    distance, diversity = cells(text, "distance"), cells(text, "diversity")
    assert (distance[1], distance[3], distance[5]) == ("lower", "4.8", "REGRESSION")
    assert distance[4].startswith("above ") and diversity[4].startswith("below ") and diversity[5] == "same"
    assert report(run_with(1)).markdown().startswith("### Gate: fine")


def test_scores_that_every_candidate_has_are_reported():
    text = report(run_with(20, speed=1.0, once=1.0), run_with(21, speed=2.0)).markdown()
    assert cells(text, "speed") == ["speed", "-", "1.5"]  # the baseline does not have it
    assert "once" not in text


def test_people_read_titles():
    titled = dataclasses.replace(SETTINGS, titles={"distance": "mean distance", "speed": "images/s"})
    comparison = compare(titled, reference(), [run_with(20, speed=1.0)])
    text = comparison_report(titled, comparison, power_of(titled, reference(), 1), {}).markdown()
    assert cells(text, "mean distance") and cells(text, "images/s") and cells(text, "diversity")
    assert "for mean distance worse by 50 %" in text


def test_only_versions_that_differ_are_reported():
    baseline = reference()
    baseline.versions.update(numpy="1.0", scipy="2.0")
    text = report(run_with(1), baseline=baseline, versions={"numpy": "1.1", "scipy": "2.0"}).markdown()
    assert "numpy 1.0 -> 1.1" in text and "scipy" not in text


def test_the_error_rates_are_those_of_the_comparison():
    baseline = reference()
    power = power_of(SETTINGS, baseline, 2)
    text = report(run_with(20), run_with(21), baseline=baseline).text()
    assert (
        f"With 2 candidate seeds: false-alarm rate {100 * power.false_alarm_rate:.2f} % (at most 0.9 %), detection "
        f"power {100 * power.detection_power:.1f} % for distance worse by 50 % (target: 90 %)."
    ) in text


def test_too_few_seeds_are_reported_where_something_may_have_regressed():
    wide = reference()
    wide.values["distance"][:] = [2.4 * factor for factor in (0.7, 1.4, 0.8, 1.3, 0.9, 1.1, 1.0, 1.2)]
    assert TOO_FEW_SEEDS in report(run_with(1, distance=4.0), baseline=wide).markdown()
    assert TOO_FEW_SEEDS not in report(run_with(1), baseline=wide).markdown(), "it is not worse at all"
    assert TOO_FEW_SEEDS not in report(run_with(1, distance=48.0), baseline=wide).markdown()
    assert TOO_FEW_SEEDS not in report(run_with(1)).markdown()


def test_text_for_a_terminal_has_aligned_columns():
    text = report(run_with(1), versions={}).text()
    assert text.startswith("Gate: fine\n\nrun 1 (seed 1) against baseline.\n\nscore ")
    header, rule, *rows = text.split("\n\n")[2].splitlines()
    assert [row.split()[0] for row in rows] == ["distance", "diversity", "accuracy", "usefulness"]
    starts = [position for position in range(len(rule)) if rule[position] == "-" and (" " + rule)[position] == " "]
    assert [header[start:].split("  ")[0] for start in starts] == [
        "score",
        "better",
        "baseline",
        "candidate",
        "fails if",
        "verdict",
    ]
    assert all(row[start - 1] == " " and row[start] != " " for row in rows for start in starts[1:])
    assert "|" not in text and "#" not in text


def test_a_baseline_shows_its_spread_and_its_power():
    runs = [run_with(seed, distance=value) for seed, value in ((2, 2.0), (3, 3.0), (4, 4.0))]
    baseline = build_baseline(SETTINGS, runs, "c" * 40, [], {})
    baseline = baseline.model_copy(update={"power": powers_of(SETTINGS, reference())})
    text = baseline_report(SETTINGS, baseline).markdown()
    assert text.startswith("### Baseline: 3 seeds (2, 3, 4) at cccccccccccc")
    assert cells(text, "distance") == ["distance", "lower", "3", "1", "33.3 %"]
    assert text.count(" % (at most 0.9 %), detection power ") == len(baseline.power)


def test_the_json_holds_what_the_tables_show():
    baseline = reference()
    comparison = compare(SETTINGS, baseline, [run_with(1, distance=4.8)])
    answer = json.loads(json.dumps(comparison_json(comparison, power_of(SETTINGS, baseline, 1)), allow_nan=False))
    assert (answer["exit_code"], answer["verdict"], answer["reference"]) == (1, "REGRESSION", "baseline")
    assert answer["candidates"] == [{"source": "run 1", "seed": 1}]
    assert answer["scores"]["distance"]["verdict"] == "REGRESSION" and answer["scores"]["distance"]["limit"] < 4.8
    assert answer["power"]["candidate_seeds"] == 1
