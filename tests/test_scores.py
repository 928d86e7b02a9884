"""Directions, alarms and limits of the scores, and the documents that list them."""

from pathlib import Path

import pytest

from dcgan.scores import HEADLINE, SCORES, Score

DOCS = Path(__file__).parents[1] / "docs"


def test_keys_and_titles_are_unique():
    assert len({score.key for score in SCORES}) == len({score.title for score in SCORES}) == len(SCORES)


def test_the_headline_has_every_score_that_gates():
    keys = {score.key for score in SCORES}
    assert {score.key for score in SCORES if score.gate} <= set(HEADLINE) <= keys


def test_a_score_that_gates_has_a_direction():
    assert all(score.better in ("lower", "higher") for score in SCORES if score.gate)


@pytest.mark.parametrize(
    ("better", "worse", "fine"),
    [("lower", [1.3], [1.1, 0.2]), ("higher", [0.7], [0.9, 5.0]), ("equal", [0.7, 1.3], [0.9, 1.1])],
)
def test_an_alarm_is_raised_only_beyond_the_margin_and_on_the_bad_side(better, worse, fine):
    score = Score("a", "a", ".1f", better, "?", alarm=0.2)
    assert all(score.raises_alarm(value, real=1.0) for value in worse)
    assert not any(score.raises_alarm(value, real=1.0) for value in fine)
    assert not any(Score("a", "a", ".1f", better, "?").raises_alarm(value, real=1.0) for value in worse)


def test_the_documentation_lists_every_score_with_its_direction():
    rows = [line for line in (DOCS / "scores.md").read_text().splitlines() if line.startswith("| ")]
    for score in SCORES:
        row = next((row for row in rows if f"`{score.key}`" in row), "")
        assert score.title in row and row.endswith(f"| {score.better} |"), score.key
