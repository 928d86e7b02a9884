"""What the gate compares: runs, baselines, references, and whether they may be compared at all."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dcgan.gate.thresholds import CAUGHT, CONTEXT, FEWEST_SEEDS, Score, gated_scores
from dcgan.support.errors import UserError


@dataclass(frozen=True)
class Run:
    """One training with its scores: what metrics/evaluate.json and metrics/train.json say of it."""

    source: str
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
    """What the gate promises with so many candidate seeds, by simulation (dcgan.gate.power)."""

    candidate_seeds: int
    false_alarms: Number  # share of runs of an unchanged model that fail
    caught: Number  # share of runs with FID worse by WORSE_FID that FID's own verdict catches

    @property
    def enough(self) -> bool:
        return self.false_alarms <= 0.01 and self.caught >= CAUGHT


class Baseline(_Record):
    """metrics/baseline.json."""

    revision: str
    settings: list[str]  # what was set for these runs beside the seed, as for `dvc exp run -S`
    seeds: list[int]
    context: dict[str, str | int | float | bool | None]
    versions: dict[str, str]
    scores: dict[str, BaselineScore]
    power: list[Power]


@dataclass(frozen=True)
class Reference:
    """What a candidate is compared with: the values of a mean, and those that tell the spread over seeds.

    Both are the baseline's, except when a single run is the reference: it has no spread of its own.
    """

    label: str
    values: dict[str, list[float]]
    spread_values: dict[str, list[float]]
    seeds: list[int]  # runs of these seeds are refused as candidates
    context: dict[str, Any]
    versions: dict[str, str]

    @property
    def own_spread(self) -> bool:
        return self.values is self.spread_values


def run_of(source: str, evaluate: Any, train: Any) -> Run:
    """Check and take over what the two metrics files of a run say.

    Raises:
        UserError: not an object, a key of the context or the seed is missing, a score is NaN or infinite.
    """
    files = {"evaluate": evaluate, "train": train}
    for name, content in files.items():
        if not isinstance(content, dict):
            raise UserError(f"{source}: {name}.json is not an object of scores; run `dvc repro` to write it anew")
    context = {name: _find(source, files, file, keys) for name, (file, keys) in CONTEXT.items()}
    seed = _find(source, files, "train", ("seed",))
    scores = {
        name: float(value)
        for name, value in evaluate.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and not name.endswith("_real")
    }
    for name, value in scores.items():
        if not math.isfinite(value):
            raise UserError(
                f"{source}: {name} is {value}, which is no score; find out why (samples/grid.png), then run `dvc repro`"
            )
    for score in gated_scores(context):
        _check_gated(source, score, scores)
    return Run(source, seed, context, scores)


def _find(source: str, files: dict[str, Any], file: str, keys: tuple[str, ...]) -> Any:
    value = files[file]
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise UserError(
                f"{source}: {file}.json has no {'.'.join(keys)}, so nothing tells what the scores were measured on; "
                "write it anew with this version: `dvc repro`"
            )
        value = value[key]
    return value


def _check_gated(source: str, score: Score, scores: dict[str, float]) -> None:
    if score.name not in scores:
        raise UserError(
            f"{source}: the gated score {score.name} is missing or not a number; run `dvc repro` to evaluate again"
        )
    if score.scale == "log" and scores[score.name] <= 0:
        raise UserError(
            f"{source}: {score.name} is {scores[score.name]} and must be above 0 (a distance between samples); "
            "check what was evaluated"
        )


def build_baseline(runs: list[Run], revision: str, settings: list[str], versions: dict[str, str]) -> Baseline:
    """Mean and spread over seeds of every score that all runs have. `power` is left empty.

    Raises:
        UserError: too few runs, a seed twice, runs of different contexts.
    """
    if len(runs) < FEWEST_SEEDS:
        raise UserError(f"{len(runs)} runs make no baseline: its spread needs at least {FEWEST_SEEDS} seeds")
    check_seeds(runs, taken=[])
    for run in runs[1:]:
        check_context(run, runs[0].context, runs[0].source)
    directions = {score.name: score.direction for score in gated_scores(runs[0].context)}
    names = [name for name in runs[0].scores if all(name in run.scores for run in runs)]
    scores = {}
    for name in names:
        values = [run.scores[name] for run in runs]
        scores[name] = BaselineScore(
            mean=float(np.mean(values)),
            std=float(np.std(values, ddof=1)),
            n=len(values),
            direction=directions.get(name),
            values=values,
        )
    return Baseline(
        revision=revision,
        settings=settings,
        seeds=[run.seed for run in runs],
        context=runs[0].context,
        versions=versions,
        scores=scores,
        power=[],
    )


def reference_of(baseline: Baseline, label: str) -> Reference:
    """A baseline as reference.

    Raises:
        UserError: a gated score is missing or has too few values.
    """
    values = {name: score.values for name, score in baseline.scores.items()}
    missing = [name for name in CONTEXT if name not in baseline.context]
    if missing:
        raise UserError(f"{label}: the context has no {', '.join(missing)}; make it anew: `dcgan baseline --seeds N`")
    for score in gated_scores(baseline.context):
        found = values.get(score.name, [])
        if len(found) < FEWEST_SEEDS or (score.scale == "log" and min(found) <= 0):
            raise UserError(
                f"{label}: the gated score {score.name} needs at least {FEWEST_SEEDS} values"
                f"{' above 0' if score.scale == 'log' else ''} and has {found}; make the baseline anew: "
                "`dcgan baseline --seeds N`"
            )
    return Reference(label, values, values, baseline.seeds, baseline.context, baseline.versions)


def reference_of_run(run: Run, spread: Reference) -> Reference:
    """A single run as reference, with the spread over seeds taken from a baseline of the same context.

    The seeds are free: the same seed before and after a change is a fair pair.

    Raises:
        UserError: the contexts differ.
    """
    check_context(run, spread.context, spread.label)
    values = {name: [value] for name, value in run.scores.items()}
    label = f"{run.source} (1 run, seed {run.seed}), spread of {spread.label}"
    return Reference(label, values, spread.spread_values, [], run.context, spread.versions)


def check_seeds(runs: Iterable[Run], taken: Iterable[int]) -> None:
    """Refuse a seed that is in `taken` or occurs twice: such runs are not independent of each other."""
    seen: dict[int, str] = {}
    taken = list(taken)
    for run in runs:
        if run.seed in taken:
            raise UserError(
                f"not comparable: {run.source} was trained with seed {run.seed}, which is in the baseline "
                f"({', '.join(map(str, taken))}); train with another: dvc exp run -S train.seed=..."
            )
        if run.seed in seen:
            raise UserError(
                f"not comparable: {seen[run.seed]} and {run.source} were both trained with seed {run.seed} (train.json "
                "beside each file says so); give runs of different seeds"
            )
        seen[run.seed] = run.source


def check_context(run: Run, context: dict[str, Any], label: str) -> None:
    """Refuse a run whose scores were measured on something else than those of `label`."""
    differing = [
        f"{name} is {run.context[name]!r} and not {context[name]!r}"
        for name in CONTEXT
        if run.context[name] != context[name]
    ]
    if differing:
        raise UserError(
            f"not comparable: in {run.source}, {', '.join(differing)} as in {label}; run with the same settings, "
            "or measure a baseline for the new ones: `dcgan baseline --seeds N`"
        )
