"""This project's settings of the regression check (docs/gate.md). The gated scores and their limits: dcgan.scores."""

from dcgan import paths
from dcgan.gate.settings import GatedScore, GateSettings, TargetRegression
from dcgan.scores import SCORES

GATE = GateSettings(
    scores_file=paths.SCORES_FILE,
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
    seed="training.seed",
    context={
        "protocol_version": "protocol.version",
        "features_sha256": "protocol.features_sha256",
        "n_generated": "protocol.n_generated",
        "n_real": "protocol.n_real",
        "n_samples": "protocol.n_samples",  # the training set of the classifier behind CAS
        "class_mix": "protocol.class_mix",
        "sample_seed": "protocol.sample_seed",
        "evaluate_seed": "protocol.evaluate_seed",
        "conditional": "training.conditional",
        "images": "training.images",  # the training budget
        "device": "training.device",  # its type: cpu, cuda
        "precision": "training.precision",
    },
    target=TargetRegression("relative_fid", factor=1.5, target_power=0.9),
    # Below 1 in 100, because scores are not exactly normal over seeds and heavier tails fail more often.
    false_alarm_rate=0.009,
    ignored_suffixes=("_real",),  # the score of real data: a property of the measurement
    titles={score.key: score.title for score in SCORES},
    libraries=("torch", "torchvision", "torchmetrics", "numpy", "scipy"),
)
