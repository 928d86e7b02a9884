"""Every path that two places name, relative to the workspace, and the folder that local state belongs to."""

import os
from pathlib import Path

RAW_DATA = Path("data/raw")

MODELS = Path("models")
GENERATOR = MODELS / "generator.safetensors"
READY_MADE_GENERATOR = MODELS / "ready_made_generator.safetensors"
FEATURE_WEIGHTS = MODELS / "digit_features.safetensors"
FEATURE_METADATA = MODELS / "digit_features.json"

SAMPLES = Path("samples")
SAMPLE_IMAGES = SAMPLES / "images-idx3-ubyte"
SAMPLE_LABELS = SAMPLES / "labels-idx1-ubyte"
SAMPLE_GRID = SAMPLES / "grid.png"
SAMPLE_WALK = SAMPLES / "walk.png"

METRICS = Path("metrics")
TRAIN_METRICS = METRICS / "train.json"
SCORES = METRICS / "evaluate.json"
BASELINE = METRICS / "baseline.json"
CURVES = METRICS / "curves.csv"
PROGRESS = METRICS / "progress"  # images of the fixed latents, one file per snapshot
TRAINING_FIGURES = METRICS / "training"
SCORE_FIGURES = METRICS / "figures"
REAL_BESIDE_GENERATED = SCORE_FIGURES / "real_beside_generated.png"
NEAREST_TRAINING = SCORE_FIGURES / "nearest_training.png"
REPORT = METRICS / "report.html"


def root_folder() -> Path:
    """The repository whose local state and tracking store are used.

    `DVC_ROOT` in a stage, else the nearest folder upwards with a dvc.yaml, else the current one. In a queued experiment
    DVC_ROOT is the parent repository, which outlives the experiment's own folder.
    """
    if named := os.environ.get("DVC_ROOT"):
        return Path(named).resolve()
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), here)


def local_state(root: Path) -> Path:
    """Run logs, checkpoints, locks and caches: never in Git, never in DVC."""
    return root / ".dcgan"


def download_cache(root: Path) -> Path:
    """What was fetched once and is checked by hash at each use."""
    return local_state(root) / "cache"
