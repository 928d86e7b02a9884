"""The scores in words: a table for the terminal, and a page with the pictures that opens anywhere."""

import base64
import html
from dataclasses import dataclass
from pathlib import Path

from dcgan.paths import NEAREST_TRAINING, REAL_BESIDE_GENERATED, SAMPLE_GRID, SAMPLE_WALK, TRAINING_FIGURES
from dcgan.support.errors import UserError


@dataclass(frozen=True)
class Row:
    """How one score is shown."""

    key: str
    name: str
    format: str
    better: str  # where better lies
    question: str  # what it answers


ROWS = (
    Row("relative_fid", "relative FID", ".2f", "lower", "how far from real digits, 1.0 being other real digits"),
    Row("fid", "FID", ".2f", "lower", "the same, in the units of the digit features"),
    Row("kid_x1000", "KID x 1000", "z.2f", "lower", "the same by a kernel, 0 being no difference"),
    Row("precision", "precision", ".3f", "higher", "share of generated digits among the real ones: quality"),
    Row("recall", "recall", ".3f", "higher", "share of real digits among the generated ones: variety"),
    Row("density", "density", ".3f", "higher", "how deep among the real ones: quality, outliers aside"),
    Row("coverage", "coverage", ".3f", "higher", "share of real digits with a generated one near: variety"),
    Row("label_accuracy", "label_accuracy", ".2%", "higher", "is the digit that was asked for shown"),
    Row("class_balance", "class balance", ".2%", "higher", "are all ten there, each as often as it should be"),
    Row("two_sample_28", "two-sample test", ".1%", "lower", "can a classifier tell them from real; 50 %: no"),
    Row("cas", "CAS", ".2%", "higher", "a classifier taught by generated digits alone, on real ones"),
    Row("nearest_training", "nearest training", ".2f", "equal", "typical distance to the nearest training image"),
    Row("copied", "copied", ".2%", "equal", "share as near to one as the nearest 1 % of real digits"),
    Row("inception_fid", "Inception FID", ".2f", "lower", "FID as papers give it"),
    Row("inception_kid_x1000", "Inception KID x 1000", "z.2f", "lower", "KID as papers give it"),
)

# Picture -> caption; those that a run did not make are left out.
PICTURES = {
    REAL_BESIDE_GENERATED: "Real digits left, generated ones right; the first ones, unpicked.",
    SAMPLE_GRID: "Generated digits, a row a digit.",
    NEAREST_TRAINING: (
        "Left: of each digit the two generated ones that lie nearest to a training image, each followed by that image. "
        "Right: the same for test images, which nobody copied."
    ),
    SAMPLE_WALK: "A walk between latents.",
    TRAINING_FIGURES / "curves.png": "The training.",
}

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .25rem .9rem; border-bottom: 1px solid #ddd; text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums } img { max-width: 100% } figure { margin: 2rem 0 }
pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; font-size: 13px }
"""


def table(scores: dict) -> list[tuple[str, str, str, str, str]]:
    """(score, generated, real data, better, what it answers) for each score that metrics/evaluate.json holds."""
    rows = []
    for row in ROWS:
        if row.key in scores:
            real = scores.get(f"{row.key}_real")
            shown = "-" if real is None else format(real, row.format)
            rows.append((row.name, format(scores[row.key], row.format), shown, row.better, row.question))
    return rows


def text_table(scores: dict) -> str:
    """The table for a terminal."""
    header = ("score", "generated", "real", "better", "what it answers")
    lines = [f"{a:<22}{b:>10}{c:>10}  {d:<8}{e}" for a, b, c, d, e in [header, *table(scores)]]
    return "\n".join(line.rstrip() for line in lines)


def between_markers(text: str, marker: str, table: str) -> str:
    """Markdown `text` with the table between `<!-- marker -->` and `<!-- end of marker -->` replaced."""
    begin, end = f"<!-- {marker} -->", f"<!-- end of {marker} -->"
    if not text.partition(begin)[2].partition(end)[1]:
        raise UserError(f"the file to update has no line {begin} with {end} after it; add them where the table belongs")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{table}{end}{rest.partition(end)[2]}"


def page(scores: dict, root: Path) -> str:
    """One HTML page with the table, the pictures under `root` inside it, and the protocol."""
    rows = "".join(
        f"<tr><td>{name}</td><td class=number>{value}</td><td class=number>{real}</td>"
        f"<td>{better}</td><td>{question}</td></tr>\n"
        for name, value, real, better, question in table(scores)
    )
    pictures = "".join(_figure(root / path, caption) for path, caption in PICTURES.items() if (root / path).exists())
    protocol = "\n".join(f"{key}: {value}" for key, value in scores["protocol"].items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Generated digits, scored</title><style>{STYLE}</style></head><body>
<h1>Generated digits, scored</h1>
<table><tr><th>score</th><th>generated</th><th>real data</th><th>better</th><th>what it answers</th></tr>
{rows}</table>
{pictures}
<h2>Protocol</h2>
<pre>{html.escape(protocol)}</pre>
</body></html>
"""


def _figure(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img alt="{path.stem}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>\n"
