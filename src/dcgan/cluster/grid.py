"""The experiments of a sweep: every combination of the values that its settings name."""

import hashlib
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dcgan.support.errors import UserError

MOST_EXPERIMENTS = 2_000
RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True)
class Experiment:
    name: str  # of the DVC experiment
    label: str  # what distinguishes it within the sweep
    settings: tuple[str, ...]  # NAME=VALUE, as for `dvc exp run -S`


def combinations(options: Sequence[str]) -> list[tuple[str, ...]]:
    """All combinations of options such as `train.seed=1..3` and `model.generator_width=16,32`, the last one varying
    fastest; each as NAME=VALUE texts in the order of the options.

    Raises:
        UserError: an option is not NAME=VALUES, a range is empty, a name or value occurs twice, or there are too many.
    """
    names = [option.partition("=")[0] for option in options]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UserError(f"{doubled[0]} is set twice; give all its values at once: -S {doubled[0]}=1,2")
    values = [_values(option) for option in options]
    count = math.prod(map(len, values))
    if count > MOST_EXPERIMENTS:
        raise UserError(f"these settings make {count:,} runs; at most {MOST_EXPERIMENTS:,} are allowed in one sweep")
    return [
        tuple(f"{name}={value}" for name, value in zip(names, chosen, strict=True))
        for chosen in itertools.product(*values)
    ]


def experiments(kind: str, options: Sequence[str], commit: str) -> list[Experiment]:
    """The experiments of a sweep, named alike in every call: so a second call finds what the first one finished."""
    varying = {option.partition("=")[0] for option in options if len(_values(option)) > 1}
    found = []
    for settings in combinations(options):
        key = hashlib.sha256("\n".join([commit, *sorted(settings)]).encode()).hexdigest()[:8]
        distinct = [text for text in settings if text.partition("=")[0] in varying] or list(settings)
        label = " ".join(text.rpartition(".")[2] if "." in text.partition("=")[0] else text for text in distinct)
        seed = next((f"-seed-{text.partition('=')[2]}" for text in settings if ".seed=" in text), "")
        found.append(Experiment(f"{kind}-{key}{seed}", label, settings))
    return found


def _values(option: str) -> list[str]:
    name, separator, text = option.partition("=")
    if not (name and separator and text):
        raise UserError(f"-S {option}: must be NAME=VALUES, such as train.seed=1..12 or model.generator_width=16,32")
    values = [value for part in text.split(",") for value in _range(option, part)]
    doubled = sorted({value for value in values if values.count(value) > 1})
    if doubled:
        raise UserError(f"-S {option}: the value {doubled[0]} occurs twice; give each value once")
    return values


def _range(option: str, part: str) -> list[str]:
    if not part:
        raise UserError(f"-S {option}: a value is empty; separate values by single commas")
    if not (match := RANGE.fullmatch(part)):
        return [part]
    first, last = int(match[1]), int(match[2])
    if first > last:
        raise UserError(f"-S {option}: the range {part} is empty; the smaller number comes first")
    if last - first >= MOST_EXPERIMENTS:
        raise UserError(f"-S {option}: the range {part} has more than {MOST_EXPERIMENTS:,} values")
    return [str(number) for number in range(first, last + 1)]
