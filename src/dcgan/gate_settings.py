"""This project's settings of the regression check (docs/gate.md). The gated scores and their limits: dcgan.scores."""

from dcgan import paths
from dcgan.gate.thresholds import Damage, GatedScore, GateSettings, MetricKey
from dcgan.scores import SCORES


def _protocol(key: str) -> MetricKey:
    return MetricKey(paths.SCORES, f"protocol.{key}")


def _training(key: str) -> MetricKey:
    return MetricKey(paths.TRAIN_METRICS, key)


GATE = GateSettings(
    scores_file=paths.SCORES,
    baseline_file=paths.BASELINE,
    baseline_command="dcgan baseline --seeds N",
    scores=tuple(
        GatedScore(
            name=score.key,
            direction=score.better,
            scale=score.gate.scale,
            absolute=score.gate.absolute,
            relative=score.gate.relative,
            only_if="conditional" if score.gate.needs_labels else None,
        )
        for score in SCORES
        if score.gate
    ),
    seed=_training("seed"),
    context={
        "protocol_version": _protocol("version"),
        "features_sha256": _protocol("features_sha256"),
        "n_generated": _protocol("n_generated"),
        "n_real": _protocol("n_real"),
        "n_samples": _protocol("n_samples"),  # the training set of the classifier behind CAS
        "class_mix": _protocol("class_mix"),
        "sample_seed": _protocol("sample_seed"),
        "evaluate_seed": _protocol("evaluate_seed"),
        "conditional": _training("conditional"),
        "images": _training("images"),  # the training budget
        "device": _training("device"),  # its type: cpu, cuda
        "precision": _training("precision"),
    },
    damage=Damage("relative_fid", factor=1.5, wanted_power=0.9),
    # Below 1 in 100, because scores are not exactly normal over seeds and heavier tails fail more often.
    false_alarm_rate=0.009,
    ignored_suffixes=("_real",),  # the score of real data: a property of the measurement
    libraries=("torch", "torchvision", "torchmetrics", "numpy", "scipy"),
)
