"""Every bad generator of dcgan.evaluation.corruptions through the whole evaluation: a Markdown table, alarms in bold.

python benchmarks/sanity.py --update docs/scores.md      (about a minute and a half for each on 2 cores)
"""

import argparse
import json
from pathlib import Path

import numpy as np

from dcgan.data.mnist import load_split
from dcgan.evaluation.corruptions import ALARMS, BAD_GENERATORS
from dcgan.evaluation.evaluate import Digits, Settings, evaluate, stand_in_rows
from dcgan.evaluation.feature_extractor import load_feature_extractor
from dcgan.evaluation.report import ROWS, between_markers
from dcgan.paths import RAW_DATA
from dcgan.support.errors import exit_on_user_error
from dcgan.support.files import write_atomic

SEED = 2000
MARKER = "sanity table"


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", type=Path, help="put the table into this Markdown file, between its markers")
    parser.add_argument("--json", type=Path, help="write all scores there too")
    args = parser.parse_args()
    train, test = (Digits(*load_split(RAW_DATA, split)) for split in ("train", "test"))
    extractor = load_feature_extractor()
    real = reordered(train, test)
    found = {"real training images": extractor.metadata["real_scores"]}
    for bad in BAD_GENERATORS:
        spoiled = bad.spoil(real, np.random.default_rng(SEED))
        found[bad.name] = evaluate(spoiled, train, test, extractor, Settings(SEED)).scores
        print(f"{bad.name}: exposed by {', '.join(exposers(found[bad.name])) or 'nothing'}", flush=True)
        missed = set(bad.exposed_by) - set(exposers(found[bad.name]))
        if missed:
            print(f"  NOT exposed by {', '.join(sorted(missed))}", flush=True)
    if args.json:
        write_atomic(args.json, json.dumps(found, indent=2).encode())
    if args.update:
        write_atomic(args.update, between_markers(args.update.read_text(), MARKER, table(found)).encode())
    print(table(found))


def reordered(train: Digits, test: Digits) -> Digits:
    """All training images, the first 10,000 with the test set's class counts, as the stage sample orders its digits."""
    leading = stand_in_rows(train.labels, test.labels)
    others = np.random.default_rng(SEED).permutation(np.setdiff1d(np.arange(len(train.images)), leading))
    return train.rows(np.concatenate([leading, others]))


def exposers(scores: dict[str, float]) -> list[str]:
    return [key for key, alarm in ALARMS.items() if key in scores and alarm.rings(scores[key], scores[f"{key}_real"])]


def table(found: dict[str, dict[str, float]]) -> str:
    """A row a generator, a column a score, in bold where it exposes the generator."""
    columns = [row for row in ROWS if row.key in ALARMS]
    lines = [f"| generator | {' | '.join(row.name for row in columns)} |", f"|---|{'---|' * len(columns)}"]
    for name, scores in found.items():
        rung = exposers(scores) if "fid_real" in scores else []
        cells = [format(scores[row.key], row.format) if row.key in scores else "-" for row in columns]
        cells = [f"**{cell}**" if row.key in rung else cell for row, cell in zip(columns, cells, strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
