"""Baselines as files describe them, and what is refused."""

import math
from dataclasses import replace

import pytest
from gate.examples import CONTEXT, MEANS, SETTINGS, reference, run_with

from dcgan.gate.baseline import build_baseline, parse_baseline, reference_from_run
from dcgan.gate.runs import NotComparable
from dcgan.support.errors import UserError


def baseline_content() -> dict:
    return build_baseline(SETTINGS, [run_with(seed) for seed in (2, 3, 4)], "c" * 40, [], {}).model_dump()


def test_a_baseline_holds_mean_spread_and_count():
    runs = [run_with(seed, distance=value, speed=1.0) for seed, value in ((2, 2.0), (3, 3.0), (4, 4.0))]
    baseline = build_baseline(SETTINGS, runs, "c" * 40, ["train.epochs=5"], {"numpy": "1"})
    distance = baseline.scores["distance"]
    assert (distance.mean, distance.std, distance.n, distance.values) == (3.0, 1.0, 3, [2.0, 3.0, 4.0])
    directions = {name: score.direction for name, score in baseline.scores.items()}
    assert directions["distance"] == "lower" and directions["diversity"] == "higher" and directions["speed"] is None
    assert baseline.seeds == [2, 3, 4] and baseline.context == CONTEXT
    assert baseline.settings == ["train.epochs=5"] and baseline.versions == {"numpy": "1"}


def test_a_baseline_keeps_the_scores_that_all_runs_have():
    runs = [run_with(2, speed=1.0), run_with(3, speed=2.0), run_with(4)]
    assert set(build_baseline(SETTINGS, runs, "", [], {}).scores) == set(MEANS)


def test_a_baseline_refuses_too_few_equal_or_different_runs():
    with pytest.raises(UserError, match="at least 3"):
        build_baseline(SETTINGS, [run_with(2), run_with(3)], "", [], {})
    with pytest.raises(NotComparable, match="both trained with seed 2"):
        build_baseline(SETTINGS, [run_with(2), run_with(2), run_with(3)], "", [], {})
    other = replace(run_with(4), context={**CONTEXT, "epochs": 1})
    with pytest.raises(NotComparable, match=r"epochs is 1 in run .* but 90 in"):
        build_baseline(SETTINGS, [run_with(2), run_with(3), other], "", [], {})


def test_a_baseline_read_back_is_the_reference():
    parsed = parse_baseline(SETTINGS, baseline_content(), "seeds.json")
    assert parsed.label == "seeds.json (3 seeds, cccccccccccc)"
    assert parsed.seeds == [2, 3, 4] and parsed.context == CONTEXT
    assert parsed.values["distance"] == [2.4] * 3 and parsed.spread_values is parsed.values


def test_a_broken_baseline_is_refused_with_the_remedy():
    content = baseline_content()
    for broken, line in (
        ({**content, "seeds": "2"}, "is not a baseline: seeds"),
        ({**content, "extra": 1}, "is not a baseline: extra"),
        ([], "is not a baseline: the file"),
        ({**content, "seeds": [2, 3, 3]}, "is not a baseline: seeds: a seed occurs twice in"),
        ({**content, "seeds": [2, 3]}, "is not a baseline: scores: distance has 3 values for 2 seeds"),
        ({**content, "context": {**CONTEXT, "epochs": math.nan}}, "is not a baseline: context.epochs"),
        ({**content, "context": {**CONTEXT, "data": ["ab"]}}, "is not a baseline: context.data"),
        ({**content, "scores": {}}, "score distance needs at least 3 values above 0"),
    ):
        with pytest.raises(NotComparable, match=line) as error:
            parse_baseline(SETTINGS, broken, "seeds.json")
        assert SETTINGS.baseline_command in str(error.value) and "\n" not in str(error.value)


def test_a_baseline_of_another_version_names_the_keys_that_differ():
    content = baseline_content()
    content["context"]["data_checksum"] = content["context"].pop("data")
    with pytest.raises(
        NotComparable, match="another version: its context has no data, but data_checksum; measure a new"
    ):
        parse_baseline(SETTINGS, content, "seeds.json")


def test_a_single_run_is_a_reference_only_in_the_context_of_its_spread():
    other = replace(run_with(1), context={**CONTEXT, "data": "cd"})
    with pytest.raises(NotComparable, match=r"data is 'cd' in .* but 'ab' in"):
        reference_from_run(SETTINGS, other, reference())
