"""The data card, `README.md`: what a data set is, where it comes from, how good its digits are, what they are not for.

Its YAML header is that of Hugging Face data cards, by which `datasets` also finds the Parquet files of each split.
"""

from dataclasses import dataclass
from typing import Any

from dcgan.dataset.digits import Split
from dcgan.scores import SCORES

READING = {
    "idx": ("MNIST's own four files", 'torchvision.datasets.MNIST("FOLDER", train=True)'),
    "npz": ("NumPy archives, arrays `images` and `labels`", 'numpy.load("FOLDER/data/{first}.npz")["images"]'),
    "parquet": ("Parquet, columns `image` and `label`", 'datasets.load_dataset("FOLDER", split="train")'),
    "png": ("a PNG for each digit, a folder for each class", 'torchvision.datasets.ImageFolder("FOLDER/train")'),
}
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


@dataclass(frozen=True)
class Origin:
    """What the digits come from."""

    generator: str  # its name
    sha256: str
    scores: dict[str, Any] | None  # as in metrics/evaluate.json, if they are known to be this generator's
    machine: dict[str, str]  # versions that the last bits depend on


def card(asked: dict[str, Any], counts: dict[Split, int], first_shard: str, origin: Origin) -> str:
    """The text of README.md for the data set of these arguments."""
    total = sum(counts.values())
    content, reading = READING[asked["format"]]
    classes = " ".join(map(str, asked["classes"]))
    splits = ", ".join(f"{count:,} ({split})" for split, count in counts.items())
    mix = {"balanced": "equally many of each class", "mnist": "as in MNIST's training set"}[asked["mix"]]
    return f"""{_header(asked, counts, total)}
# {total:,} generated handwritten digits

Labeled 28x28 gray images, drawn by a generative network (a conditional DCGAN) trained on MNIST. No image is a scan of
anyone's handwriting; each label is the digit that was requested.

| | |
|---|---|
| digits | {splits} |
| classes | {classes}; {mix} |
| format | {content} |
| reading | `{reading.replace("{first}", first_shard)}` |
| generator | {origin.generator}, SHA-256 `{origin.sha256}` |
| made by | `dcgan dataset {_options(asked)}`, {", ".join(f"{key} {value}" for key, value in origin.machine.items())} |

`SHA256SUMS` has the hash of every file: `sha256sum -c SHA256SUMS`. The command makes the same bytes again with the same
generator, versions and kind of processor; elsewhere, single pixels may differ by one gray level. A row depends on the
seed and its number, not on how many there are.

## Source and license

The generator and these digits are under the MIT license. The generator learned from MNIST's 60,000 training images
([LeCun et al. 1998](https://doi.org/10.1109/5.726791)), which most sources give as CC BY-SA 3.0; other claims exist.

## How good are the digits?

{_scores(origin.scores)}

## Limits

- Not for training or testing a digit reader that people depend on: a generated test set says nothing about real
  handwriting, and labels are what was requested, not what a person reads.
- The variety is that of the generator, which lacks some of MNIST's, however many digits are drawn.
- A classifier can be trained to tell these digits from real ones.
"""


def _header(asked: dict[str, Any], counts: dict[Split, int], total: int) -> str:
    size = next((name for limit, name in SIZES if total < limit), "n>10M")
    lines = ["license: mit", "pretty_name: Generated handwritten digits", "task_categories:", "- image-classification"]
    lines += ["tags:", "- mnist", "- synthetic", "- gan", "size_categories:", f"- {size}"]
    if asked["format"] == "parquet":
        lines += ["configs:", "- config_name: default", "  data_files:"]
        for split in counts:
            lines += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    return "\n".join(["---", *lines, "---", ""])


def _options(asked: dict[str, Any]) -> str:
    values = {key: " ".join(map(str, asked[key])) if key == "classes" else asked[key] for key in asked}
    names = ("count", "test-count", "format", "seed", "classes", "mix")
    return "-o FOLDER " + " ".join(f"--{name} {values[name]}" for name in names)


def _scores(scores: dict[str, Any] | None) -> str:
    if scores is None:
        return (
            "This generator's scores are not known here: it was trained elsewhere, or retrained since it was measured. "
            "`make repro` measures a generator."
        )
    lines = ["| score | this generator | other real digits |", "|---|---|---|"]
    for score in SCORES:
        if score.key in scores:
            real = scores.get(f"{score.key}_real")
            value, other = (format(v, score.format) if v is not None else "" for v in (scores[score.key], real))
            lines.append(f"| {score.title}: {score.question} | {value} | {other} |")
    return "\n".join([*lines, "", "Measured on 10,000 digits, none selected, against MNIST's test set."])
