"""Evaluates every corruption of dcgan.evaluation.corruptions in full: a Markdown table, alarms in bold.

python benchmarks/sanity.py --update docs/scores.md      (about two minutes for each on 2 cores)
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dcgan.data.mnist import load_split
from dcgan.evaluation.corruptions import ALARMS, CORRUPTIONS, raised_alarms
from dcgan.evaluation.evaluate import Digits, Settings, class_matched_rows, evaluate
from dcgan.evaluation.feature_extractor import load_feature_extractor
from dcgan.evaluation.report import between_markers
from dcgan.paths import RAW_DATA
from dcgan.support.errors import exit_on_user_error
from dcgan.support.files import write_atomic

SEED = 2000
MARKER = "sanity table"


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", type=Path, help="put the table into this Markdown file, between its markers")
    parser.add_argument("--json", type=Path, help="also write all scores to this file")
    args = parser.parse_args()
    train, test = (Digits(*load_split(RAW_DATA, split)) for split in ("train", "test"))
    extractor = load_feature_extractor()
    real = reordered(train, test)
    found = {"real training images": extractor.metadata["real_scores"]}
    for corruption in CORRUPTIONS:
        corrupted = corruption.apply(real, np.random.default_rng(SEED))
        found[corruption.name] = evaluate(corrupted, train, test, extractor, Settings(SEED)).scores
        alarms = raised_alarms(found[corruption.name])
        print(f"{corruption.name}: exposed by {', '.join(alarms) or 'nothing'}", flush=True)
        if missed := set(corruption.exposed_by) - set(alarms):
            print(f"  NOT exposed by {', '.join(sorted(missed))}", flush=True)
    if args.json:
        write_atomic(args.json, json.dumps(found, indent=2).encode())
    if args.update:
        write_atomic(args.update, between_markers(args.update.read_text(), MARKER, table(found)).encode())
    print(table(found))


def reordered(train: Digits, test: Digits) -> Digits:
    """All training images, the first 10,000 with the test set's class counts, like generated samples."""
    first = class_matched_rows(train.labels, test.labels)
    others = np.random.default_rng(SEED).permutation(np.setdiff1d(np.arange(len(train.images)), first))
    return train.rows(np.concatenate([first, others]))


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """One row per generator, one column per score with an alarm, raised alarms in bold."""
    titles = [score.title for score in ALARMS.values()]
    lines = [f"| generator | {' | '.join(titles)} |", f"|---|{'---|' * len(titles)}"]
    lines += [f"| {name} | {' | '.join(_cells(scores))} |" for name, scores in found.items()]
    return "\n".join(lines) + "\n"


def _cells(scores: Mapping[str, float]) -> list[str]:
    raised = raised_alarms(scores)
    cells = []
    for key, score in ALARMS.items():
        cell = format(scores[key], score.format) if key in scores else "-"
        cells.append(f"**{cell}**" if key in raised else cell)
    return cells


if __name__ == "__main__":
    main()
