"""The table for the terminal, the HTML page, refused files, and tables in Markdown documents."""

import json
from pathlib import Path

import pytest

from dcgan.evaluation.report import between_markers, html_page, read_scores, text_table
from dcgan.paths import SAMPLE_GRID
from dcgan.scores import PROTOCOL_VERSION, SCORES
from dcgan.support.errors import UserError

ALL = {key: 0.25 for score in SCORES for key in (score.key, f"{score.key}_real")}
PROTOCOL = {"version": PROTOCOL_VERSION, "features_sha256": "ab"}


def test_the_table_shows_each_score_beside_real_data_and_fits_a_terminal():
    lines = text_table(ALL | {"label_accuracy": 0.9912, "label_accuracy_real": 0.9974}).splitlines()
    assert len(lines) == 1 + len(SCORES) and max(map(len, lines)) <= 120
    (line,) = (line for line in lines if line.startswith("label accuracy"))
    assert line.split()[2:5] == ["99.12%", "99.74%", "higher"]


def test_scores_that_are_missing_are_left_out_and_a_missing_real_value_is_a_dash():
    (_, line) = text_table({"inception_fid": 3.882, "protocol": PROTOCOL}).splitlines()
    assert line.split()[:5] == ["Inception", "FID", "3.88", "-", "lower"]


def test_a_real_value_of_zero_is_a_value():
    (_, line) = text_table({"copied": 0.5, "copied_real": 0.0}).splitlines()
    assert line.split()[:4] == ["copied", "50.00%", "0.00%", "equal"]


def test_the_page_has_every_score_the_protocol_and_the_pictures_that_exist(tmp_path):
    (tmp_path / SAMPLE_GRID).parent.mkdir()
    (tmp_path / SAMPLE_GRID).write_bytes(b"a picture")
    page = html_page(ALL | {"protocol": PROTOCOL}, tmp_path)
    assert page.count("<tr>") == 1 + len(SCORES) and "features_sha256: ab\n" in page
    assert page.count("<img") == 1 and 'src="data:image/png;base64,YSBwaWN0dXJl"' in page
    assert "<img" not in html_page(ALL | {"protocol": PROTOCOL}, Path("nowhere"))


def test_the_page_escapes_what_is_no_html():
    page = html_page({"protocol": {"class_mix": "<script>"}}, Path("nowhere"))
    assert "<script>" not in page and "class_mix: &lt;script&gt;" in page


@pytest.mark.parametrize(
    ("content", "version"),
    [({"agreement": 0.99, "protocol": {"version": 1, "ruler_sha256": "ab"}}, 1), ({"fid": 1.0}, None), ([], None)],
)
def test_scores_of_another_protocol_version_are_refused(content, version, tmp_path):
    (tmp_path / "evaluate.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"evaluate\.json has protocol version {version}, .*dvc repro") as error:
        read_scores(tmp_path / "evaluate.json")
    assert "\n" not in str(error.value)


def test_a_table_replaces_the_one_between_its_markers():
    text = "a\n<!-- t -->\nold\n<!-- end of t -->\nb\n"
    assert between_markers(text, "t", "new\n") == "a\n<!-- t -->\nnew\n<!-- end of t -->\nb\n"
    with pytest.raises(UserError, match="no line <!-- other -->"):
        between_markers(text, "other", "new\n")
    with pytest.raises(UserError, match="no line <!-- t -->"):
        between_markers("<!-- end of t -->\n<!-- t -->\n", "t", "new\n")
