"""Floors, the choice of gated scores, and what the folder `gate` needs from the rest of the project."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from gate.examples import CONTEXT, SETTINGS

from dcgan.gate.settings import GatedScore, TargetRegression


def test_the_floor_is_the_larger_of_absolute_and_relative():
    linear = GatedScore("x", "higher", "linear", absolute=0.5, relative=0.1)
    assert linear.floor(2.0) == pytest.approx(0.5)
    assert linear.floor(20.0) == linear.floor(-20.0) == pytest.approx(2.0)
    log = GatedScore("x", "lower", "log", absolute=0.5, relative=0.1)
    assert log.floor(math.log(2.0)) == pytest.approx(math.log(2.5 / 2))
    assert log.floor(math.log(20.0)) == pytest.approx(math.log(1.1))


def test_scores_with_a_condition_are_gated_only_where_it_holds():
    assert [score.name for score in SETTINGS.gated(CONTEXT)] == ["distance", "diversity", "accuracy", "usefulness"]
    assert [score.name for score in SETTINGS.gated({**CONTEXT, "labeled": False})] == ["distance", "diversity"]


@pytest.mark.parametrize("labeled", [True, False])
def test_the_false_alarm_rate_is_divided_among_the_gated_scores(labeled):
    context = {**CONTEXT, "labeled": labeled}
    rate = SETTINGS.false_alarm_rate_per_score(context)
    assert rate * len(SETTINGS.gated(context)) == pytest.approx(SETTINGS.false_alarm_rate)


@pytest.mark.parametrize("name", ["unknown", "accuracy"])
def test_the_score_of_the_target_regression_must_always_be_gated(name):
    with pytest.raises(ValueError, match=name):
        replace(SETTINGS, target=TargetRegression(name, factor=1.5, target_power=0.9))


def test_the_gate_imports_nothing_else_of_this_project_and_no_slow_library():
    """Another project takes the folders gate/ and support/ and writes settings for its own scores and files."""
    modules = ("baseline", "compare", "power", "report", "revisions", "runs", "settings")
    imports = "; ".join(f"import dcgan.gate.{name}" for name in modules)
    code = f"import json, sys; {imports}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout))
    ours = {name for name in imported if name.startswith("dcgan.")}
    assert {name.split(".")[1] for name in ours} == {"gate", "support"}
    assert not imported & {"torch", "mlflow", "dvc", "scipy.stats"}
