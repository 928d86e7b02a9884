"""Runs as scores files describe them, and which are comparable."""

from dataclasses import replace

import pytest
from gate.examples import CONTEXT, MEANS, SETTINGS, content_with, run_with

from dcgan.gate.runs import NotComparable, check_context, check_seeds, parse_run
from dcgan.support.errors import UserError


def test_a_run_takes_seed_context_and_scores_from_its_file():
    content = content_with(7, speed=9, distance_of_the_data=1.0, settled=True, note="ok")
    run = parse_run(SETTINGS, "here", content)
    assert (run.source, run.seed, run.context) == ("here", 7, CONTEXT)
    # no booleans, no text, nothing that describes the data
    assert run.scores == {**MEANS, "speed": 9.0}


def test_scores_of_other_context_need_no_condition():
    content = content_with(7) | {"labeled": False}
    del content["accuracy"], content["usefulness"]
    assert set(parse_run(SETTINGS, "here", content).scores) == {"distance", "diversity"}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"distance": float("nan")}, "distance is nan, but must be"),
        ({"speed": float("inf")}, "speed is inf, but must be"),
        ({"speed": -(10**400)}, "speed is an integer of 401 digits, but must be"),
        ({"distance": 0.0}, "must be above 0"),
        ({"accuracy": None}, "accuracy is missing or not a number"),
        ({"measured_on": {}}, "the scores of here have no measured_on.data.sha256"),
        ({"measured_on": 3}, "the scores of here have no measured_on.data.sha256"),
        ({"measured_on": {"data": {"sha256": ["ab"]}}}, "have a list as measured_on.data.sha256"),
        ({"trained": {"epochs": 90, "seed": {}}}, "have a dict as trained.seed"),
        ({"trained": {"epochs": 90, "seed": True}}, "have True as trained.seed, which must be an integer"),
        ({"trained": {"epochs": 90, "seed": "7"}}, "have '7' as trained.seed, which must be an integer"),
    ],
)
def test_unusable_scores_are_refused(change, line):
    with pytest.raises(UserError, match=line) as error:
        parse_run(SETTINGS, "here", content_with(7) | change)
    assert not isinstance(error.value, NotComparable)  # a new baseline would not help


def test_a_file_of_the_wrong_form_is_refused():
    with pytest.raises(UserError, match="the scores of here are not a JSON object"):
        parse_run(SETTINGS, "here", [])


def test_seeds_must_be_new_and_different():
    check_seeds([run_with(1), run_with(2)], taken=[3])
    with pytest.raises(NotComparable, match=r"seed 2, which is in the baseline \(2, 3\)"):
        check_seeds([run_with(1), run_with(2)], taken=[2, 3])
    with pytest.raises(NotComparable, match="run 1 and run 1 were both trained with seed 1"):
        check_seeds([run_with(1), run_with(1)], taken=[])


def test_another_context_is_refused_with_all_that_differs():
    other = replace(run_with(1), context={**CONTEXT, "epochs": 1, "data": "cd"})
    line = "data is 'cd' in run 1 but 'ab' in seeds, epochs is 1 in run 1 but 90 in seeds"
    with pytest.raises(NotComparable, match=line):
        check_context(SETTINGS, other, CONTEXT, "seeds")
