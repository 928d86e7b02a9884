"""Runs and baselines as files describe them, and what is refused."""

from dataclasses import replace

import pytest
from gate.examples import CONTEXT, MEANS, SCORES_FILE, SETTINGS, SUMMARY_FILE, reference, run_with

from dcgan.gate.baseline import build_baseline, check_seeds, parse_baseline, parse_run, reference_from_run
from dcgan.support.errors import UserError


def contents(**scores) -> dict:
    """The metrics files of a run."""
    return {
        SCORES_FILE: {**MEANS, **scores, "measured_on": {"data": {"sha256": "ab"}}},
        SUMMARY_FILE: {"random": {"seed": 7}, "labeled": True, "epochs": 90},
    }


def baseline_content() -> dict:
    return build_baseline(SETTINGS, [run_with(seed) for seed in (2, 3, 4)], "c" * 40, [], {}).model_dump()


def test_a_run_takes_seed_context_and_scores_from_its_files():
    run = parse_run(SETTINGS, "here", contents(speed=9, distance_of_the_data=1.0, settled=True, note="ok"))
    assert (run.source, run.seed, run.context) == ("here", 7, CONTEXT)
    assert run.scores == {**MEANS, "speed": 9.0}  # no booleans, no text, nothing that describes the data


def test_scores_of_other_context_need_no_condition():
    files = contents()
    files[SUMMARY_FILE]["labeled"] = False
    del files[SCORES_FILE]["accuracy"], files[SCORES_FILE]["usefulness"]
    assert set(parse_run(SETTINGS, "here", files).scores) == {"distance", "diversity"}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"distance": float("nan")}, "distance is nan"),
        ({"speed": float("inf")}, "speed is inf"),
        ({"distance": 0.0}, "must be above 0"),
        ({"accuracy": None}, "accuracy is missing or not a number"),
        ({"measured_on": {}}, "scores.json has no measured_on.data.sha256"),
        ({"measured_on": 3}, "scores.json has no measured_on.data.sha256"),
    ],
)
def test_a_run_with_unusable_scores_is_refused(change, line):
    files = contents()
    files[SCORES_FILE] |= change
    with pytest.raises(UserError, match=line):
        parse_run(SETTINGS, "here", files)


def test_a_run_whose_files_are_of_the_wrong_form_is_refused():
    with pytest.raises(UserError, match=r"scores\.json is not a JSON object"):
        parse_run(SETTINGS, "here", {**contents(), SCORES_FILE: []})
    with pytest.raises(UserError, match=r"summary\.json has no random\.seed"):
        parse_run(SETTINGS, "here", {**contents(), SUMMARY_FILE: {"labeled": True, "epochs": 90}})


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
    with pytest.raises(UserError, match="both trained with seed 2"):
        build_baseline(SETTINGS, [run_with(2), run_with(2), run_with(3)], "", [], {})
    other = replace(run_with(4), context={**CONTEXT, "epochs": 1})
    with pytest.raises(UserError, match="epochs is 1 and not 90"):
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
        ({**content, "scores": {}}, "score distance needs at least 3 values above 0"),
    ):
        with pytest.raises(UserError, match=line) as error:
            parse_baseline(SETTINGS, broken, "seeds.json")
        assert SETTINGS.baseline_command in str(error.value) and "\n" not in str(error.value)


def test_a_baseline_of_another_version_names_the_keys_that_differ():
    content = baseline_content()
    content["context"]["data_checksum"] = content["context"].pop("data")
    with pytest.raises(UserError, match="another version: its context has no data, but data_checksum; measure a new"):
        parse_baseline(SETTINGS, content, "seeds.json")


def test_a_single_run_is_a_reference_only_in_the_context_of_its_spread():
    other = replace(run_with(1), context={**CONTEXT, "data": "cd"})
    with pytest.raises(UserError, match="data is 'cd' and not 'ab'"):
        reference_from_run(SETTINGS, other, reference())


def test_seeds_must_be_new_and_different():
    check_seeds([run_with(1), run_with(2)], taken=[3])
    with pytest.raises(UserError, match=r"seed 2, which is in the baseline \(2, 3\)"):
        check_seeds([run_with(1), run_with(2)], taken=[2, 3])
    with pytest.raises(UserError, match="run 1 and run 1 were both trained with seed 1"):
        check_seeds([run_with(1), run_with(1)], taken=[])
