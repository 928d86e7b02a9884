"""What a candidate is compared with: a baseline of several seeds, or a single run."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from dcgan.gate.runs import MAX_MAGNITUDE, NotComparable, Run, check_context, check_seeds
from dcgan.gate.settings import GatedScore, GateSettings
from dcgan.support.errors import UserError


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Number = Annotated[float, Field(allow_inf_nan=False, ge=-MAX_MAGNITUDE, le=MAX_MAGNITUDE)]


class BaselineScore(_Record):
    mean: Number
    std: Number  # over seeds, n - 1 in the denominator
    n: int
    direction: Literal["lower", "higher"] | None  # None: reported only
    values: list[Number]  # in the order of the seeds


class Power(_Record):
    """Error rates of a comparison with this number of candidate seeds (dcgan.gate.power)."""

    candidate_seeds: int
    false_alarm_rate: Number  # fraction of unchanged models that fail: an upper bound
    detection_power: Number  # fraction of models that regressed by the target amount and fail


class Baseline(_Record):
    """The baseline file: several runs that differ in their seed alone."""

    revision: str
    settings: list[str]  # what these runs set besides the seed, as for `dvc exp run -S`
    seeds: list[int]
    context: dict[str, str | int | Number | bool | None]
    versions: dict[str, str]
    scores: dict[str, BaselineScore]
    power: list[Power]

    @field_validator("seeds")
    def has_each_seed_once(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"a seed occurs twice in {seeds}")
        return seeds

    @field_validator("scores")
    def has_a_value_per_seed(cls, scores: dict[str, BaselineScore], info: ValidationInfo) -> dict[str, BaselineScore]:
        seeds = info.data.get("seeds", [])
        for name, score in scores.items():
            if len(score.values) != len(seeds):
                raise ValueError(f"{name} has {len(score.values)} values for {len(seeds)} seeds")
        return scores


@dataclass(frozen=True)
class Estimate:
    """A score over seeds as estimated from a reference, on the score's scale (see GatedScore)."""

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


def build_baseline(
    settings: GateSettings, runs: list[Run], revision: str, changes: list[str], versions: dict[str, str]
) -> Baseline:
    """Mean and spread over seeds of every score that all runs have. `power` is left empty.

    Args:
        changes: what the runs set besides the seed, as for `dvc exp run -S`.

    Raises:
        UserError: too few runs.
        NotComparable: a seed twice, runs of different contexts.
    """
    if len(runs) < settings.min_seeds:
        raise UserError(f"a baseline of {len(runs)} runs has no usable spread; give at least {settings.min_seeds}")
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
        NotComparable: not a baseline, one of another version, or a gated score is missing or has too few values.
    """
    _check_version(settings, content, label)
    try:
        baseline = Baseline.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise NotComparable(
            f"{label} is not a baseline: {key}: {first['msg'].removeprefix('Value error, ')}; restore it from Git or "
            f"measure a new one: `{settings.baseline_command}`"
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
        raise NotComparable(
            f"{label} was measured by another version: its context has no {', '.join(missing)}"
            f"{', but ' + ', '.join(unknown) if unknown else ''}; measure a new one: `{settings.baseline_command}`"
        )


def reference_from_baseline(settings: GateSettings, baseline: Baseline, label: str) -> Reference:
    """A baseline as reference.

    Raises:
        NotComparable: a gated score is missing or has too few values.
    """
    values = {name: score.values for name, score in baseline.scores.items()}
    for score in settings.gated(baseline.context):
        found = values.get(score.name, [])
        if len(found) < settings.min_seeds or (score.scale == "log" and min(found) <= 0):
            raise NotComparable(
                f"{label}: the gated score {score.name} needs at least {settings.min_seeds} values"
                f"{' above 0' if score.scale == 'log' else ''}, but has {found}; measure a new baseline: "
                f"`{settings.baseline_command}`"
            )
    return Reference(label, values, values, baseline.seeds, baseline.context, baseline.versions)


def reference_from_run(settings: GateSettings, run: Run, spread: Reference) -> Reference:
    """A single run as reference, with the spread over seeds of a baseline of the same context.

    No seed is refused: the same seed before and after a change is a fair pair.

    Raises:
        NotComparable: the contexts differ.
    """
    check_context(settings, run, spread.context, spread.label)
    values = {name: [value] for name, value in run.scores.items()}
    label = f"{run.source} (1 run, seed {run.seed}) with the spread of {spread.label}"
    return Reference(label, values, spread.spread_values, [], run.context, spread.versions)
