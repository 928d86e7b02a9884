"""This project's settings of the gate, and the committed baselines that belong to them."""

from pathlib import Path

import pytest

from dcgan.gate.baseline import parse_baseline
from dcgan.gate.power import powers_of
from dcgan.gate_settings import GATE
from dcgan.scores import SCORES
from dcgan.support.files import read_json

ROOT = Path(__file__).parents[1]


def test_the_gated_scores_are_those_with_a_limit():
    limits = {score.key: score for score in SCORES if score.gate}
    assert [score.name for score in GATE.scores] == list(limits)
    for score in GATE.scores:
        described = limits[score.name]
        assert score.direction == described.better and score.scale == described.gate.scale
        assert (score.absolute, score.relative) == (described.gate.absolute, described.gate.relative)
        assert (score.only_if == "conditional") == described.gate.needs_labels
    assert {score.direction for score in GATE.scores} <= {"lower", "higher"}


@pytest.mark.parametrize("name", ["baseline.json", "small_baseline.json"])
def test_the_power_of_a_committed_baseline_is_that_of_its_values(name):
    content = read_json(ROOT / "metrics" / name)
    powers = powers_of(GATE, parse_baseline(GATE, content, name))
    assert len(powers) == len(content["power"])
    for power, written in zip(powers, content["power"], strict=True):
        assert power.model_dump() == pytest.approx(written, rel=1e-6)
