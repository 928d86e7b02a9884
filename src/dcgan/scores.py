"""Every score, described once: how it is shown, which direction is better, and how bad is too bad.

To add a score: compute it in `dcgan.evaluation` and describe it here (steps: CONTRIBUTING.md).
"""

from dataclasses import dataclass
from typing import Literal

PROTOCOL_VERSION = 3  # raise it when a score of the same images may change, or a key of metrics/evaluate.json does


@dataclass(frozen=True)
class GateLimit:
    """For a score that can fail `dcgan check`: the smallest difference that counts, whatever the noise."""

    scale: Literal["linear", "log"]  # log where the spread over seeds grows with the value
    absolute: float  # in the score's own unit
    relative: float  # fraction of the baseline's mean
    needs_labels: bool = False  # a model trained without labels does not have it


@dataclass(frozen=True)
class Score:
    """A score in metrics/evaluate.json, `<key>`, beside its value for real data, `<key>_real`."""

    key: str  # eval/<key> in MLflow
    title: str
    format: str
    better: Literal["lower", "higher", "equal"]  # equal: the closer to the value of real data, the better
    question: str
    alarm: float | None = None  # a generator that is worse than real data by more than this is broken
    gate: GateLimit | None = None

    def raises_alarm(self, value: float, real: float) -> bool:
        """Whether `value` is worse than `real`, the value of real data, by more than the alarm margin."""
        worse_by = {"lower": value - real, "higher": real - value, "equal": abs(value - real)}[self.better]
        return self.alarm is not None and worse_by > self.alarm


# Alarm margins are several times what another choice of 10,000 real images moves the score.
SCORES = (
    Score(
        "relative_fid",
        "relative FID",
        ".2f",
        "lower",
        "FID relative to that of other real digits; 1.0: as good as real",
        alarm=0.5,
        # 0.05: real images against real ones move this much by the choice of images alone
        gate=GateLimit("log", absolute=0.05, relative=0.05),
    ),
    Score("fid", "FID", ".2f", "lower", "Frechet distance on the digit features"),
    Score(
        "kid_x1000",
        "KID x 1000",
        "z.2f",
        "lower",
        "kernel distance on these features; 0 or below: no difference",
        alarm=10.0,
    ),
    Score(
        "precision",
        "precision",
        ".3f",
        "higher",
        "quality: fraction of generated digits that look real",
        alarm=0.05,
    ),
    Score(
        "recall",
        "recall",
        ".3f",
        "higher",
        "variety: fraction of real digits that could be generated",
        alarm=0.05,
        # a collapsed generator can keep a moderate FID and perfect label accuracy
        gate=GateLimit("linear", absolute=0.01, relative=0.0),
    ),
    Score("density", "density", ".3f", "higher", "quality: like precision, less sensitive to outliers", alarm=0.05),
    Score(
        "coverage",
        "coverage",
        ".3f",
        "higher",
        "variety: fraction of real digits with a generated one nearby",
        alarm=0.05,
    ),
    Score(
        "label_accuracy",
        "label accuracy",
        ".2%",
        "higher",
        "fraction of digits that show the requested label",
        alarm=0.01,
        # 20 digits of 10,000, about two standard errors of a count at 99 %
        gate=GateLimit("linear", absolute=0.002, relative=0.0, needs_labels=True),
    ),
    Score(
        "class_balance",
        "class balance",
        ".2%",
        "higher",
        "does each of the ten digits appear as often as it should",
        alarm=0.02,
    ),
    Score(
        "two_sample_eye",
        "two-sample test, eye",
        ".1%",
        "lower",
        "real-vs-generated classifier, 17 gray levels; 50 %: no difference",
        alarm=0.03,
    ),
    Score(
        "two_sample_plain",
        "two-sample test, plain",
        ".1%",
        "lower",
        "the same with all 256 gray levels",
        alarm=0.03,
    ),
    Score(
        "two_sample_14",
        "two-sample test, 14x14",
        ".1%",
        "lower",
        "the same on means of 2x2 pixels, black and white ends magnified",
        alarm=0.03,
    ),
    Score(
        "two_sample_28",
        "two-sample test, 28x28",
        ".1%",
        "lower",
        "the same on all pixels, black and white ends magnified",
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
    Score(
        "box_20",
        "box of 20",
        ".1%",
        "higher",
        "fraction of digits whose longer side is 20 pixels, as in MNIST",
        alarm=0.005,
    ),
    Score(
        "centered",
        "centered",
        ".1%",
        "higher",
        "fraction of digits centered within half a pixel, as in MNIST",
        alarm=0.005,
    ),
    Score(
        "stray_parts",
        "stray parts",
        ".1%",
        "lower",
        "fraction of digits in more than one part: specks, broken strokes",
        alarm=0.015,
    ),
    Score(
        "near_black",
        "near-black",
        ".2%",
        "equal",
        "fraction of pixels with a gray level of 1 to 16: haze",
        alarm=0.002,
    ),
    Score(
        "gray_distance",
        "gray levels",
        ".2%",
        "lower",
        "total variation distance of the gray levels' frequencies",
        alarm=0.01,
    ),
    Score(
        "flat_strokes",
        "flat strokes",
        ".1%",
        "equal",
        "fraction of bright pixels at their digit's commonest bright level",
        alarm=0.03,
    ),
    Score(
        "high_frequencies",
        "high frequencies",
        ".3f",
        "equal",
        "power at the finest detail; below 1: blurred, above: ragged",
        alarm=0.03,
    ),
    Score(
        "nearest_training", "nearest training", ".2f", "equal", "median pixel distance to the nearest training image"
    ),
    Score(
        "copied",
        "copied",
        ".2%",
        "equal",
        "fraction closer to a training image than 99 % of test images are",
        alarm=0.02,
    ),
    Score("inception_fid", "Inception FID", ".2f", "lower", "FID as published papers compute it"),
    Score("inception_kid_x1000", "Inception KID x 1000", "z.2f", "lower", "KID as published papers compute it"),
)

# The columns of `dvc exp show` and `dvc metrics diff`; more would not fit into a terminal.
HEADLINE = ("relative_fid", "precision", "recall", "label_accuracy", "cas", "two_sample_eye")
