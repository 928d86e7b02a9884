"""Settings of the gate, all of them: which scores decide, what too little is, what must be equal to compare."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

# An unchanged model may fail 1 run in 100; the tenth below that covers the error of the simulation that checks it.
# Shared out equally among the gated scores (Bonferroni), it holds whatever the correlation between them.
FALSE_ALARMS = 0.009
WORSE_FID = 1.5  # the damage that must be caught ...
CAUGHT = 0.9  # ... this often
FEWEST_SEEDS = 3  # the spread of two runs says next to nothing


@dataclass(frozen=True)
class Score:
    """A gated score: where better lies, and how much worse is too little to matter whatever the noise."""

    name: str
    direction: Literal["lower", "higher"]
    scale: Literal["linear", "log"]  # log where the spread over seeds grows with the value
    absolute: float  # in the score's own unit
    relative: float  # share of the baseline's mean
    needs_labels: bool = False  # a plain, unconditional model does not have it

    @property
    def worse(self) -> int:
        """+1 if a larger value is worse, -1 if a smaller one is."""
        return 1 if self.direction == "lower" else -1

    def to_scale(self, value: Any) -> Any:
        return np.log(value) if self.scale == "log" else np.asarray(value, dtype=np.float64)

    def from_scale(self, value: Any) -> Any:
        return np.exp(value) if self.scale == "log" else value

    def floor(self, center: Any) -> Any:
        """Smallest difference that counts, on the scale, at a baseline of `center` (on the scale too)."""
        value = np.abs(self.from_scale(center))
        smallest = np.maximum(self.absolute, self.relative * value)
        return np.log1p(smallest / value) if self.scale == "log" else smallest


# Quality, variety, obedience, usefulness: one score each, because every further one costs power (docs/gate.md).
GATED = (
    # 0.05: real images against real ones move this much by the choice of images alone
    Score("relative_fid", "lower", "log", absolute=0.05, relative=0.05),
    # the diversity measure: a collapsed generator can keep a moderate FID and perfect agreement
    Score("recall", "higher", "linear", absolute=0.01, relative=0.0),
    # 20 digits of 10,000, about two standard errors of a count at 99 %
    Score("label_accuracy", "higher", "linear", absolute=0.002, relative=0.0, needs_labels=True),
    Score("cas", "higher", "linear", absolute=0.002, relative=0.0, needs_labels=True),
)

# What must be equal for two scores to mean the same thing: name -> (file, keys on the way).
# Library versions are only reported.
CONTEXT = {
    "protocol_version": ("evaluate", ("protocol", "version")),
    "features_sha256": ("evaluate", ("protocol", "features_sha256")),
    "n_generated": ("evaluate", ("protocol", "n_generated")),
    "n_real": ("evaluate", ("protocol", "n_real")),
    "n_samples": ("evaluate", ("protocol", "n_samples")),  # what the judge behind cas learns from
    "class_mix": ("evaluate", ("protocol", "class_mix")),
    "sample_seed": ("evaluate", ("protocol", "sample_seed")),
    "evaluate_seed": ("evaluate", ("protocol", "evaluate_seed")),
    "conditional": ("train", ("conditional",)),
    "images": ("train", ("images",)),  # the training budget
    "device": ("train", ("device",)),  # its class: cpu, cuda
    "precision": ("train", ("precision",)),
}


def gated_scores(context: dict[str, Any]) -> list[Score]:
    """The scores that decide for such a model."""
    return [score for score in GATED if context["conditional"] or not score.needs_labels]
