"""Settings of the gate: which scores can fail a run, and what must be equal to compare two."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class GatedScore:
    """A score that can fail a run, and the smallest difference that matters, whatever the noise.

    Means and differences are taken on the score's scale: linear (the score itself) or log (its natural logarithm).
    """

    name: str
    direction: Literal["lower", "higher"]  # which is better
    scale: Literal["linear", "log"]  # log where the spread over seeds grows with the value
    absolute: float  # in the score's own unit
    relative: float  # fraction of the baseline's mean
    only_if: str | None = None  # gated only where this key of the context is true

    @property
    def worse_sign(self) -> int:
        """+1 if a larger value is worse, -1 if a smaller one is."""
        return 1 if self.direction == "lower" else -1

    def to_scale(self, value: Any) -> Any:
        return np.log(value) if self.scale == "log" else np.asarray(value, dtype=np.float64)

    def from_scale(self, value: Any) -> Any:
        return np.exp(value) if self.scale == "log" else value

    def floor(self, center: float) -> float:
        """Smallest difference that matters, on the score's scale, for a baseline mean `center` on that scale."""
        value = abs(float(self.from_scale(center)))
        smallest = max(self.absolute, self.relative * value)
        return float(np.log1p(smallest / value)) if self.scale == "log" else smallest


@dataclass(frozen=True)
class TargetRegression:
    """The regression that the gate must detect: one score multiplied by a factor."""

    score: str  # a gated score without `only_if`
    factor: float  # above 1 where lower is better, else below 1
    target_power: float  # fraction of models that regressed by this much and must fail

    def is_detected(self, power: float) -> bool:
        return power >= self.target_power


@dataclass(frozen=True)
class GateSettings:
    """All that the gate has to know about a project.

    A run is one scores file, which also says how it was trained and measured: a file beside it may belong to another
    run. Keys in it are dotted where nested, as in `dvc metrics show`.

    Raises:
        ValueError: `target` names a score that is not always gated.
    """

    scores_file: Path  # a JSON object; its numbers are the scores
    baseline_file: Path
    baseline_command: str  # what a user runs to measure a new baseline
    scores: tuple[GatedScore, ...]
    seed: str  # key of the training seed
    context: Mapping[str, str]  # name -> key; equal in both runs, or their scores do not mean the same thing
    target: TargetRegression
    false_alarm_rate: float  # fraction of unchanged models that may fail, over all gated scores together
    min_seeds: int = 3  # a standard deviation from two runs is too uncertain to be useful
    ignored_suffixes: tuple[str, ...] = ()  # of numbers in scores_file that are no scores of the model
    titles: Mapping[str, str] = field(default_factory=dict)  # of scores, for people; the others keep their key
    libraries: tuple[str, ...] = ()  # packages whose versions are reported beside a comparison

    def __post_init__(self) -> None:
        if self.target.score not in [score.name for score in self.scores if score.only_if is None]:
            raise ValueError(f"target.score is {self.target.score!r}, but must be a gated score without only_if")

    def title(self, score: str) -> str:
        return self.titles.get(score, score)

    def gated(self, context: Mapping[str, Any]) -> list[GatedScore]:
        """The scores that can fail a run of this context."""
        return [score for score in self.scores if score.only_if is None or context[score.only_if]]

    def false_alarm_rate_per_score(self, context: Mapping[str, Any]) -> float:
        """The total divided by the number of gated scores: an upper bound whatever their correlation (Bonferroni)."""
        return self.false_alarm_rate / len(self.gated(context))
