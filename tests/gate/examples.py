"""Gate settings of an imaginary project, with scores, limits and files unlike ours, and runs of it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from dcgan.gate.baseline import Reference, build_baseline, reference_from_baseline
from dcgan.gate.runs import Run
from dcgan.gate.settings import GatedScore, GateSettings, TargetRegression

SETTINGS = GateSettings(
    scores_file=Path("results/scores.json"),
    baseline_file=Path("results/reference/seeds.json"),
    baseline_command="make reference",
    scores=(
        GatedScore("distance", "lower", "log", absolute=0.05, relative=0.05),
        GatedScore("diversity", "higher", "linear", absolute=0.01, relative=0.0),
        GatedScore("accuracy", "higher", "linear", absolute=0.002, relative=0.0, only_if="labeled"),
        GatedScore("usefulness", "higher", "linear", absolute=0.002, relative=0.0, only_if="labeled"),
    ),
    seed="trained.seed",
    context={"data": "measured_on.data.sha256", "labeled": "labeled", "epochs": "trained.epochs"},
    target=TargetRegression("distance", factor=1.5, target_power=0.9),
    false_alarm_rate=0.009,
    ignored_suffixes=("_of_the_data",),
    libraries=("numpy",),
)
CONTEXT = {"data": "ab", "labeled": True, "epochs": 90}
MEANS = {"distance": 2.4, "diversity": 0.87, "accuracy": 0.985, "usefulness": 0.986}
SPREADS = {"distance": 0.06, "diversity": 0.006, "accuracy": 0.0012, "usefulness": 0.0011}  # distance: of its logarithm
DISTANCE, DIVERSITY = SETTINGS.scores[:2]
RATE_PER_SCORE = SETTINGS.false_alarm_rate / len(SETTINGS.scores)
WITHOUT_FLOORS = replace(
    SETTINGS, scores=tuple(replace(score, absolute=0.0, relative=0.0) for score in SETTINGS.scores)
)


def content_with(seed: int, **scores: float) -> dict:
    """A scores file."""
    context = {"measured_on": {"data": {"sha256": "ab"}}, "labeled": True, "trained": {"epochs": 90, "seed": seed}}
    return {**MEANS, **scores, **context}


def run_with(seed: int, **scores: float) -> Run:
    return Run(f"run {seed}", seed, CONTEXT, {**MEANS, **scores})


def drawn_run(seed: int, generator: np.random.Generator) -> Run:
    scores = {name: generator.normal(MEANS[name], SPREADS[name]) for name in MEANS}
    scores["distance"] = MEANS["distance"] * math.exp(generator.normal(0, SPREADS["distance"]))
    return run_with(seed, **scores)


def regressed(run: Run) -> Run:
    """The run after the target regression of the settings."""
    return replace(run, scores={**run.scores, "distance": SETTINGS.target.factor * run.scores["distance"]})


def reference_of(runs: list[Run], settings: GateSettings = SETTINGS) -> Reference:
    return reference_from_baseline(settings, build_baseline(settings, runs, "0" * 40, [], {}), "baseline")


def reference(count: int = 8) -> Reference:
    """A baseline of the seeds from 2 on."""
    generator = np.random.default_rng(5)
    return reference_of([drawn_run(2 + i, generator) for i in range(count)])
