"""Every score, described once: how it is shown, which direction is better, and when it is too bad.

To add a score: compute it in `dcgan.evaluation`, and add its line here.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GateLimit:
    """A score that can fail `dcgan check`: the smallest difference that counts, whatever the noise."""

    scale: Literal["linear", "log"]  # log where the spread over seeds grows with the value
    absolute: float  # in the score's own unit
    relative: float  # fraction of the baseline's mean
    needs_labels: bool = False  # a model trained without labels does not have it


@dataclass(frozen=True)
class Score:
    key: str  # in metrics/evaluate.json; eval/<key> in MLflow
    title: str
    format: str
    better: Literal["lower", "higher", "equal"]  # equal: the closer to the value of real data
    question: str
    alarm: float | None = None  # farther than this from real data on the bad side: exposes a bad generator
    gate: GateLimit | None = None


# Alarms are several times what another choice of 10,000 real images moves the score.
SCORES = (
    Score(
        "relative_fid",
        "relative FID",
        ".2f",
        "lower",
        "distance from real digits; 1.0: other real digits",
        alarm=0.5,
        # 0.05: real images against real ones move this much by the choice of images alone
        gate=GateLimit("log", absolute=0.05, relative=0.05),
    ),
    Score("fid", "FID", ".2f", "lower", "the same in units of the digit features"),
    Score("kid_x1000", "KID x 1000", "z.2f", "lower", "the same with a kernel; 0: no difference", alarm=10.0),
    Score(
        "precision", "precision", ".3f", "higher", "fraction of generated digits among the real: quality", alarm=0.05
    ),
    Score(
        "recall",
        "recall",
        ".3f",
        "higher",
        "fraction of real digits among the generated: variety",
        alarm=0.05,
        # a collapsed generator can keep a moderate FID and perfect label accuracy
        gate=GateLimit("linear", absolute=0.01, relative=0.0),
    ),
    Score("density", "density", ".3f", "higher", "like precision, less sensitive to outliers", alarm=0.05),
    Score("coverage", "coverage", ".3f", "higher", "fraction of real digits with a generated one near", alarm=0.05),
    Score(
        "label_accuracy",
        "label accuracy",
        ".2%",
        "higher",
        "does a digit show the requested label",
        alarm=0.01,
        # 20 digits of 10,000, about two standard errors of a count at 99 %
        gate=GateLimit("linear", absolute=0.002, relative=0.0, needs_labels=True),
    ),
    Score("class_balance", "class balance", ".2%", "higher", "are all ten digits equally well represented", alarm=0.02),
    Score(
        "two_sample_28",
        "two-sample test",
        ".1%",
        "lower",
        "real-vs-generated classifier accuracy; 50 %: indistinguishable",
        alarm=0.03,
    ),
    Score(
        "cas",
        "CAS",
        ".2%",
        "higher",
        "accuracy on real digits of a classifier trained on generated ones",
        alarm=0.01,
        gate=GateLimit("linear", absolute=0.002, relative=0.0, needs_labels=True),
    ),
    Score("nearest_training", "nearest training", ".2f", "equal", "median distance to the nearest training image"),
    Score(
        "copied",
        "copied",
        ".2%",
        "equal",
        "fraction as close to a training image as the closest 1 % of test images",
        0.02,
    ),
    Score("inception_fid", "Inception FID", ".2f", "lower", "FID as published papers compute it"),
    Score("inception_kid_x1000", "Inception KID x 1000", "z.2f", "lower", "KID as published papers compute it"),
)
