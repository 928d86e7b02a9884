"""Paths used in more than one place, relative to the workspace unless absolute, and the folders of local state."""

import os
from pathlib import Path

RAW_DATA = Path("data/raw")

MODELS = Path("models")
GENERATOR = MODELS / "generator.safetensors"
READY_MADE_GENERATOR = Path(__file__).with_name("ready_made_generator.safetensors")  # absolute: part of the package
FEATURE_WEIGHTS = MODELS / "digit_features.safetensors"
FEATURE_METADATA = MODELS / "digit_features.json"

SAMPLES = Path("samples")
SAMPLE_IMAGES = SAMPLES / "images-idx3-ubyte"
SAMPLE_LABELS = SAMPLES / "labels-idx1-ubyte"
SAMPLE_GRID = SAMPLES / "grid.png"
SAMPLE_WALK = SAMPLES / "walk.png"

METRICS = Path("metrics")
TRAIN_METRICS = METRICS / "train.json"
SCORES_FILE = METRICS / "evaluate.json"
HEADLINE_SCORES = METRICS / "scores.json"  # some of SCORES_FILE, for the tables of DVC
READY_MADE_SCORES = METRICS / "ready_made.json"  # `make ready-made` copies it together with the generator
BASELINE = METRICS / "baseline.json"
CURVES = METRICS / "curves.csv"
SNAPSHOTS = METRICS / "progress"  # image grids of the fixed latents, one file per snapshot
TRAINING_FIGURES = METRICS / "training"
SCORE_FIGURES = METRICS / "figures"
REAL_BESIDE_GENERATED = SCORE_FIGURES / "real_beside_generated.png"
NEAREST_TRAINING = SCORE_FIGURES / "nearest_training.png"
REPORT = METRICS / "report.html"
QUIZ = METRICS / "quiz.html"


def workspace() -> Path:
    """The nearest folder with a dvc.yaml, from the current one upwards, else the current one, as an absolute path."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), here)


def root_folder() -> Path:
    """The repository that local state and the tracking store belong to, as an absolute path: `DVC_ROOT` in a stage,
    else the workspace.

    In a queued experiment DVC_ROOT is the parent repository, which outlives the experiment's temporary folder.
    """
    if named := os.environ.get("DVC_ROOT"):
        return Path(named).resolve()
    return workspace()


def user_path(path: str) -> Path:
    """A path on the command line, relative to the folder of the user. `dcgan` changes to the workspace afterward."""
    return Path(path) if Path.cwd() == workspace() else Path.cwd() / path


def local_state(root: Path) -> Path:
    """Folder of run logs, checkpoints, locks and caches, which are in neither Git nor DVC."""
    return root / ".dcgan"


def download_cache(root: Path) -> Path:
    """Folder of downloaded files, which are verified by hash every time they are used."""
    return local_state(root) / "cache"
