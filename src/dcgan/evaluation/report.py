"""The scores beside those of real data: a table for the terminal, and a self-contained HTML page with the pictures."""

import base64
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment

from dcgan.paths import NEAREST_TRAINING, REAL_BESIDE_GENERATED, SAMPLE_GRID, SAMPLE_WALK, TRAINING_FIGURES
from dcgan.scores import PROTOCOL_VERSION, SCORES
from dcgan.support.errors import UserError
from dcgan.support.files import read_json

# Picture -> caption; a picture that a run did not make is left out.
PICTURES = {
    REAL_BESIDE_GENERATED: "Real digits left, generated ones right: the first of each class, none selected.",
    SAMPLE_GRID: "Generated digits, one row per class.",
    NEAREST_TRAINING: (
        "Left: for each class, the two generated digits closest to a training image, each followed by that image. "
        "Right: the same for test images, which cannot be copies."
    ),
    SAMPLE_WALK: "Interpolation between latents.",
    TRAINING_FIGURES / "curves.png": "Training curves.",
}

PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Scores of the generated digits</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .25rem .9rem; border-bottom: 1px solid #ddd; text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums } img { max-width: 100% } figure { margin: 2rem 0 }
pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; font-size: 13px }
</style></head><body>
<h1>Scores of the generated digits</h1>
<table><tr>{% for title in header %}<th>{{ title }}</th>{% endfor %}</tr>
{% for row in rows %}
<tr><td>{{ row.title }}</td><td class="number">{{ row.generated }}</td><td class="number">{{ row.real }}</td>\
<td>{{ row.better }}</td><td>{{ row.question }}</td></tr>
{% endfor %}
</table>
{% for name, data, caption in pictures %}
<figure><img alt="{{ name }}" src="data:image/png;base64,{{ data }}"><figcaption>{{ caption }}</figcaption></figure>
{% endfor %}
<h2>Protocol</h2>
<pre>{% for key, value in protocol.items() %}{{ key }}: {{ value }}
{% endfor %}</pre>
</body></html>
""")


class Row(NamedTuple):
    title: str
    generated: str
    real: str
    better: str
    question: str


HEADER = Row("score", "generated", "real", "better", "what it measures")


def read_scores(path: Path) -> dict[str, Any]:
    """The content of metrics/evaluate.json.

    Raises:
        UserError: the file is missing, no JSON, or of another version of the protocol.
    """
    scores = read_json(path)
    version = protocol_version(scores)
    if version != PROTOCOL_VERSION:
        raise UserError(
            f"{path} has protocol version {version}, expected {PROTOCOL_VERSION}: it was written by another version of "
            "the code; run `dvc repro` to evaluate again"
        )
    return scores


def protocol_version(scores: Any) -> int | None:
    """The version of the protocol that scores were measured with; None where there are no scores."""
    protocol = scores.get("protocol") if isinstance(scores, dict) else None
    return protocol.get("version") if isinstance(protocol, dict) else None


def score_rows(scores: dict[str, Any]) -> list[Row]:
    """A row for each score that metrics/evaluate.json has; "-" where real data has no value."""
    rows = []
    for score in SCORES:
        if score.key in scores:
            real = scores.get(f"{score.key}_real")
            values = format(scores[score.key], score.format), "-" if real is None else format(real, score.format)
            rows.append(Row(score.title, *values, score.better, score.question))
    return rows


def text_table(scores: dict[str, Any]) -> str:
    """The table for a terminal."""
    lines = [
        f"{row.title:<24}{row.generated:>10}{row.real:>10}  {row.better:<8}{row.question}"
        for row in (HEADER, *score_rows(scores))
    ]
    return "\n".join(line.rstrip() for line in lines)


def html_page(scores: dict[str, Any], root: Path) -> str:
    """One HTML page with the table, the protocol, and the pictures under `root` embedded."""
    pictures = [
        (path.stem, base64.b64encode((root / path).read_bytes()).decode(), caption)
        for path, caption in PICTURES.items()
        if (root / path).exists()
    ]
    return PAGE.render(header=HEADER, rows=score_rows(scores), pictures=pictures, protocol=scores["protocol"])


def between_markers(text: str, marker: str, table: str) -> str:
    """Markdown `text` with the part between `<!-- marker -->` and `<!-- end of marker -->` replaced by `table`.

    Raises:
        UserError: the markers are missing.
    """
    begin, end = f"<!-- {marker} -->", f"<!-- end of {marker} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise UserError(f"the file to update has no line {begin} followed by {end}; add both where the table belongs")
    return f"{before}{begin}\n{table}{end}{after}"
