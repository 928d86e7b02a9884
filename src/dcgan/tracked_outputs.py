"""This project's pipeline as `dcgan.tracking` needs to know it: what is logged, and from which files."""

from dcgan.paths import (
    CURVES,
    GENERATOR,
    METRICS,
    MODELS,
    RAW_DATA,
    SAMPLES,
    SCORE_FIGURES,
    SCORES_FILE,
    SNAPSHOTS,
    TRAIN_METRICS,
    TRAINING_FIGURES,
)
from dcgan.serving.description import SERVED
from dcgan.tracking.pipeline import TrackedPipeline, TrackedStage

PIPELINE = TrackedPipeline(
    train=TrackedStage(
        "train",
        sections=("model", "train"),
        files=(
            f"{MODELS}/generator.*",
            f"{MODELS}/discriminator.*",
            f"{TRAIN_METRICS}",
            f"{CURVES}",
            f"{TRAINING_FIGURES}/*",
        ),
    ),
    sample=TrackedStage("sample", sections=("sample",), files=(f"{SAMPLES}/*.png",)),
    evaluate=TrackedStage(
        "evaluate",
        sections=("evaluate",),
        files=(f"{SCORES_FILE}", f"{METRICS}/report.*", f"{SCORE_FIGURES}/*.png"),
    ),
    model=GENERATOR,
    curves=CURVES,
    curves_step="images",  # not "step": runs with different batch sizes stay comparable
    curves_ignored=("step",),
    compared_curves=("loss_d", "loss_g", "acc_real"),
    compared_params=(
        "model.generator_width",
        "train.images",
        "train.learning_rate",
        "train.r1_gamma",
    ),
    progress=SNAPSHOTS,
    dataset=RAW_DATA / "train-images-idx3-ubyte",
    dataset_name="MNIST",
    served=SERVED,
    scores=SCORES_FILE,
    headline=("relative_fid", "recall", "cas"),
    scores_ignored=("*_real", "kid"),  # scores of real data are the same in every run; kid_x1000 is kid
    protocol_tags=("version", "features_sha256"),  # runs with other values have scores on another scale
)
