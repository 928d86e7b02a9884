"""What the gate compares: runs, baselines, references, and whether they are comparable at all."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dcgan.gate.thresholds import GatedScore, GateSettings, MetricKey
from dcgan.support.errors import UserError


@dataclass(frozen=True)
class Run:
    """One training with its scores, as its metrics files have them."""

    source: str  # a file, a DVC experiment or a Git revision
    seed: int
    context: dict[str, Any]
    scores: dict[str, float]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Number = Annotated[float, Field(allow_inf_nan=False)]


class BaselineScore(_Record):
    mean: Number
    std: Number  # over seeds, n - 1 in the denominator
    n: int
    direction: Literal["lower", "higher"] | None  # None: reported only
    values: list[Number]  # in the order of the seeds


class Power(_Record):
    """What a comparison with so many candidate seeds is worth (dcgan.gate.power)."""

    candidate_seeds: int
    false_alarm_rate: Number  # fraction of unchanged models that fail: an upper bound
    detection_power: Number  # fraction of models with the damage of the settings that fail


class Baseline(_Record):
    """The baseline file: several runs that differ in their seed alone."""

    revision: str
    settings: list[str]  # what these runs set besides the seed, as for `dvc exp run -S`
    seeds: list[int]
    context: dict[str, str | int | float | bool | None]
    versions: dict[str, str]
    scores: dict[str, BaselineScore]
    power: list[Power]


@dataclass(frozen=True)
class Estimate:
    """A score over seeds as estimated from a reference, on the score's scale."""

    mean: float
    std: float
    n_mean: int  # number of values behind `mean`
    n_std: int  # number of values behind `std`


@dataclass(frozen=True)
class Reference:
    """What a candidate is compared with.

    The mean and the spread over seeds come from the same values, those of a baseline, except when the reference is a
    single run: its spread is borrowed from a baseline.
    """

    label: str
    values: dict[str, list[float]]
    spread_values: dict[str, list[float]]
    seeds: list[int]  # runs of these seeds are refused as candidates
    context: dict[str, Any]
    versions: dict[str, str]

    def estimate(self, score: GatedScore) -> Estimate:
        values, spread = self.values[score.name], self.spread_values[score.name]
        mean, std = np.mean(score.to_scale(values)), np.std(score.to_scale(spread), ddof=1)
        return Estimate(float(mean), float(std), len(values), len(spread))


# ---- Runs ------------------------------------------------------------------------------------------------------------


def parse_run(settings: GateSettings, source: str, contents: Mapping[Path, Any]) -> Run:
    """Check the metrics files of a run, each by its path in the settings, and take what the gate needs.

    Raises:
        UserError: not an object, a key of the context or the seed is missing, a score is NaN or infinite.
    """
    for path, content in contents.items():
        if not isinstance(content, dict):
            raise UserError(f"{source}: {path.name} is not a JSON object; run `dvc repro` to write it again")
    context = {name: _look_up(source, contents, key) for name, key in settings.context.items()}
    seed = _look_up(source, contents, settings.seed)
    scores = _finite_scores(settings, source, contents[settings.scores_file])
    for score in settings.gated(context):
        _check_gated(source, score, scores)
    return Run(source, seed, context, scores)


def _finite_scores(settings: GateSettings, source: str, content: dict[str, Any]) -> dict[str, float]:
    scores = {}
    for name, value in content.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or name.endswith(settings.ignored_suffixes):
            continue
        if not math.isfinite(value):
            raise UserError(f"{source}: {name} is {value} and must be finite; look at what was evaluated")
        scores[name] = float(value)
    return scores


def _look_up(source: str, contents: Mapping[Path, Any], key: MetricKey) -> Any:
    value = contents[key.file]
    for part in key.key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(
                f"{source}: {key.file.name} has no {key.key}: another version wrote it; run `dvc repro` with this one, "
                "or choose another run"
            )
        value = value[part]
    return value


def _check_gated(source: str, score: GatedScore, scores: dict[str, float]) -> None:
    if score.name not in scores:
        raise UserError(
            f"{source}: the gated score {score.name} is missing or not a number; run `dvc repro` to evaluate again"
        )
    if score.scale == "log" and scores[score.name] <= 0:
        raise UserError(
            f"{source}: {score.name} is {scores[score.name]} and must be above 0 (it is compared on a log scale); "
            "look at what was evaluated"
        )


# ---- Baselines -------------------------------------------------------------------------------------------------------


def build_baseline(
    settings: GateSettings, runs: list[Run], revision: str, changes: list[str], versions: dict[str, str]
) -> Baseline:
    """Mean and spread over seeds of every score that all runs have. `power` is left empty.

    Args:
        changes: what the runs set besides the seed, as for `dvc exp run -S`.

    Raises:
        UserError: too few runs, a seed twice, runs of different contexts.
    """
    if len(runs) < settings.fewest_seeds:
        raise UserError(f"a baseline of {len(runs)} runs has no usable spread; give at least {settings.fewest_seeds}")
    check_seeds(runs, taken=[])
    for run in runs[1:]:
        check_context(settings, run, runs[0].context, runs[0].source)
    directions = {score.name: score.direction for score in settings.gated(runs[0].context)}
    scores = {
        name: _summarize([run.scores[name] for run in runs], directions.get(name))
        for name in runs[0].scores
        if all(name in run.scores for run in runs)
    }
    return Baseline(
        revision=revision,
        settings=changes,
        seeds=[run.seed for run in runs],
        context=runs[0].context,
        versions=versions,
        scores=scores,
        power=[],
    )


def _summarize(values: list[float], direction: Literal["lower", "higher"] | None) -> BaselineScore:
    mean, std = float(np.mean(values)), float(np.std(values, ddof=1))
    return BaselineScore(mean=mean, std=std, n=len(values), direction=direction, values=values)


def parse_baseline(settings: GateSettings, content: Any, label: str) -> Reference:
    """A baseline file as reference.

    Raises:
        UserError: not a baseline, one of another version, or a gated score is missing or has too few values.
    """
    _check_version(settings, content, label)
    try:
        baseline = Baseline.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{label} is not a baseline: {key}: {first['msg']}; restore it from Git or measure a new one: "
            f"`{settings.baseline_command}`"
        ) from error
    label = f"{label} ({len(baseline.seeds)} seeds, {baseline.revision[:12]})"
    return reference_from_baseline(settings, baseline, label)


def _check_version(settings: GateSettings, content: Any, label: str) -> None:
    """Refuse a baseline whose context has other keys, before the differences of its other parts hide the reason."""
    context = content.get("context") if isinstance(content, dict) else None
    if not isinstance(context, dict):
        return
    missing = [name for name in settings.context if name not in context]
    unknown = [name for name in context if name not in settings.context]
    if missing:
        raise UserError(
            f"{label} was measured by another version: its context has no {', '.join(missing)}"
            f"{', but ' + ', '.join(unknown) if unknown else ''}; measure a new one: `{settings.baseline_command}`"
        )


def reference_from_baseline(settings: GateSettings, baseline: Baseline, label: str) -> Reference:
    """A baseline as reference.

    Raises:
        UserError: a gated score is missing or has too few values.
    """
    values = {name: score.values for name, score in baseline.scores.items()}
    for score in settings.gated(baseline.context):
        found = values.get(score.name, [])
        if len(found) < settings.fewest_seeds or (score.scale == "log" and min(found) <= 0):
            raise UserError(
                f"{label}: the gated score {score.name} needs at least {settings.fewest_seeds} values"
                f"{' above 0' if score.scale == 'log' else ''} and has {found}; measure a new baseline: "
                f"`{settings.baseline_command}`"
            )
    return Reference(label, values, values, baseline.seeds, baseline.context, baseline.versions)


def reference_from_run(settings: GateSettings, run: Run, spread: Reference) -> Reference:
    """A single run as reference, with the spread over seeds of a baseline of the same context.

    No seed is refused: the same seed before and after a change is a fair pair.

    Raises:
        UserError: the contexts differ.
    """
    check_context(settings, run, spread.context, spread.label)
    values = {name: [value] for name, value in run.scores.items()}
    label = f"{run.source} (1 run, seed {run.seed}) with the spread of {spread.label}"
    return Reference(label, values, spread.spread_values, [], run.context, spread.versions)


# ---- Comparable? -----------------------------------------------------------------------------------------------------


def check_seeds(runs: Iterable[Run], taken: Iterable[int]) -> None:
    """Refuse a seed that is in `taken` or occurs twice: such runs are not independent of each other."""
    seen: dict[int, str] = {}
    taken = list(taken)
    for run in runs:
        if run.seed in taken:
            raise UserError(
                f"not comparable: {run.source} was trained with seed {run.seed}, which is in the baseline "
                f"({', '.join(map(str, taken))}); train with another seed"
            )
        if run.seed in seen:
            raise UserError(
                f"not comparable: {seen[run.seed]} and {run.source} were both trained with seed {run.seed}; "
                "give runs of different seeds"
            )
        seen[run.seed] = run.source


def check_context(settings: GateSettings, run: Run, context: Mapping[str, Any], label: str) -> None:
    """Refuse a run whose scores were not measured under the same conditions as those of `label`."""
    differing = [
        f"{name} is {run.context[name]!r} and not {context[name]!r}"
        for name in settings.context
        if run.context[name] != context[name]
    ]
    if differing:
        raise UserError(
            f"not comparable: in {run.source}, {', '.join(differing)} as in {label}; run with the same settings, "
            f"or measure a baseline for the new ones: `{settings.baseline_command}`"
        )
