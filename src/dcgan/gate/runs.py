"""One training run with its scores, and whether it can be compared with others at all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dcgan.gate.settings import GatedScore, GateSettings
from dcgan.support.errors import UserError

MAX_MAGNITUDE = 1e100  # a larger score is an error, and the square of its spread could overflow


class NotComparable(UserError):
    """The candidate's files are as they should be, but there is no baseline that they can be compared with."""


@dataclass(frozen=True)
class Run:
    """One training run: the content of its scores file."""

    source: str  # a file, a DVC experiment or a Git revision
    seed: int
    context: dict[str, Any]
    scores: dict[str, float]


def parse_run(settings: GateSettings, source: str, content: Any) -> Run:
    """Check the content of a scores file and take what the gate needs.

    Raises:
        UserError: not an object, the seed or a key of the context is missing or not a plain value, a score is NaN,
            infinite or out of range.
    """
    if not isinstance(content, dict):
        raise UserError(f"the scores of {source} are not a JSON object; run `dvc repro` to write them again")
    context = {name: _look_up(source, content, key) for name, key in settings.context.items()}
    seed = _look_up(source, content, settings.seed)
    if type(seed) is not int:  # True is an int, too
        raise UserError(
            f"the scores of {source} have {seed!r} as {settings.seed}, which must be an integer; run `dvc repro` to "
            "write them again"
        )
    scores = _finite_scores(settings, source, content)
    for score in settings.gated(context):
        _check_gated(source, score, scores)
    return Run(source, seed, context, scores)


def _look_up(source: str, content: dict[str, Any], key: str) -> str | int | float | bool | None:
    value: Any = content
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(
                f"the scores of {source} have no {key}: another version wrote them; run `dvc repro` with this one, "
                "or choose another run"
            )
        value = value[part]
    if isinstance(value, dict | list):
        raise UserError(
            f"the scores of {source} have a {type(value).__name__} as {key}, which must be a single value; "
            "run `dvc repro` to write them again"
        )
    return value


def _finite_scores(settings: GateSettings, source: str, content: dict[str, Any]) -> dict[str, float]:
    scores = {}
    for name, value in content.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or name.endswith(settings.ignored_suffixes):
            continue
        if not abs(value) <= MAX_MAGNITUDE:  # true of NaN, too
            raise UserError(
                f"{source}: {name} is {_shown(value)}, but must be a number of at most {MAX_MAGNITUDE:g}; look at "
                "what was evaluated"
            )
        scores[name] = float(value)
    return scores


def _shown(value: float) -> str:
    return str(value) if isinstance(value, float) else f"an integer of {len(str(abs(value)))} digits"


def _check_gated(source: str, score: GatedScore, scores: dict[str, float]) -> None:
    if score.name not in scores:
        raise UserError(
            f"{source}: the gated score {score.name} is missing or not a number; run `dvc repro` to evaluate again"
        )
    if score.scale == "log" and scores[score.name] <= 0:
        raise UserError(
            f"{source}: {score.name} is {scores[score.name]}, but must be above 0 (it is compared on a log scale); "
            "look at what was evaluated"
        )


def check_seeds(runs: Iterable[Run], taken: Iterable[int]) -> None:
    """Refuse a seed that is in `taken` or occurs twice: such runs are not independent of each other.

    Raises:
        NotComparable: names the runs and the seed.
    """
    seen: dict[int, str] = {}
    taken = list(taken)
    for run in runs:
        if run.seed in taken:
            raise NotComparable(
                f"not comparable: {run.source} was trained with seed {run.seed}, which is in the baseline "
                f"({', '.join(map(str, taken))}); train with another seed"
            )
        if run.seed in seen:
            raise NotComparable(
                f"not comparable: {seen[run.seed]} and {run.source} were both trained with seed {run.seed}; "
                "give runs of different seeds"
            )
        seen[run.seed] = run.source


def check_context(settings: GateSettings, run: Run, context: Mapping[str, Any], label: str) -> None:
    """Refuse a run whose scores were not measured under the same conditions as those of `label`.

    Raises:
        NotComparable: names each key of the context that differs, with both values.
    """
    differing = [
        f"{name} is {run.context[name]!r} in {run.source} but {context[name]!r} in {label}"
        for name in settings.context
        if run.context[name] != context[name]
    ]
    if differing:
        raise NotComparable(
            f"not comparable: {', '.join(differing)}; run with the same settings, or measure "
            f"a baseline for the new ones: `{settings.baseline_command}`"
        )
