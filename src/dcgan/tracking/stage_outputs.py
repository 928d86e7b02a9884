"""What the files of a workspace tell a record: said by the stages when they are done, and by `dcgan publish` for what
DVC restored from a cache or pulled from a remote, where no stage ran. Paths are relative to the workspace."""

import csv
import hashlib
import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from dcgan.support.errors import UserError
from dcgan.support.files import read_json, sha256
from dcgan.support.lock import hold
from dcgan.tracking.provenance import revision_tags
from dcgan.tracking.run_log import RESTORED, RunLog, flatten

GENERATOR = "models/generator.safetensors"
SCORES = "metrics/evaluate.json"
TRAINING_FILES = (
    "models/generator.*",
    "models/discriminator.*",
    "metrics/train.json",
    "metrics/curves.csv",
    "metrics/training/*",
)
EVALUATION_FILES = (SCORES, "metrics/report.*", "metrics/figures/*.png", "samples/*.png")
NUMBERED = re.compile(r".+-(?P<images>\d+)\.png")  # metrics/progress/images-000000.png: by images seen


def log_training(record: RunLog, workspace: Path, params: Mapping[str, Any]) -> None:
    """What a finished training left: parameters, series, pictures, networks, data set, and last the model's hash.

    `params` is all of params.yaml. Points stand at the number of images seen, so runs of other batch sizes compare.
    Points and pictures that the training has told while it ran are passed over.
    """
    record.log_params({section: params[section] for section in ("model", "train")})
    for row in _rows(workspace / "metrics/curves.csv"):
        step = int(row.pop("images"))
        record.log_points({f"train/{key}": float(value) for key, value in row.items() if key != "step"}, step)
    for picture in sorted((workspace / "metrics/progress").glob("*.png")):
        log_progress(record, picture)
    _log_files(record, workspace, TRAINING_FILES)
    _log_dataset(record, workspace)
    record.log_tags({"model.sha256": sha256(workspace / GENERATOR)})


def log_progress(record: RunLog, picture: Path) -> None:
    """One picture of the fixed latents, for the slider: its file name ends in the number of images seen."""
    if match := NUMBERED.fullmatch(picture.name):
        record.log_image("progress", picture, int(match["images"]))
    else:
        record.log_file(picture, "metrics/progress")


def log_evaluation(root: Path, workspace: Path, params: Mapping[str, Any]) -> RunLog:
    """What an evaluation left, told to the record it belongs to, which is returned.

    Scores stand at step 0, `eval/<score>` each. Another result under equal settings (other code, other libraries) is
    another evaluation.
    """
    scores = read_json(workspace / SCORES)
    # Those of real data are the same for every run: bars that tell nothing in a comparison
    wanted = {key: value for key, value in scores.items() if not key.endswith("_real")}
    numbers = {f"eval/{key}": value for key, value in wanted.items() if type(value) in (int, float)}
    settings = settings_hash(params)
    record = run_log_for_evaluation(root, workspace, params, settings)
    told = {key: record.value("point", key, 0) for key in numbers}
    if any(value not in (None, numbers[key]) for key, value in told.items()):
        settings = settings_hash(params, scores)
        record = run_log_for_evaluation(root, workspace, params, settings)
    record.log_params({section: params[section] for section in ("sample", "evaluate")})
    record.log_points(numbers, 0)
    record.log_tags(flatten({"protocol": scores.get("protocol", {})}))
    _log_files(record, workspace, EVALUATION_FILES)
    if record.parent:
        record.finish("FINISHED")
    return record


def log_samples(root: Path, workspace: Path, params: Mapping[str, Any]) -> RunLog:
    """The pictures of the samples, told to the record that their evaluation will go to."""
    record = run_log_for_evaluation(root, workspace, params, settings_hash(params))
    record.log_params({"sample": params["sample"]})
    _log_files(record, workspace, ("samples/*.png",))
    return record


def settings_hash(params: Mapping[str, Any], *more: Any) -> str:
    """What tells one evaluation of a model from another: the sections `sample` and `evaluate`."""
    settings = flatten({"sample": params["sample"], "evaluate": params["evaluate"], "more": json.dumps(more)})
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def run_log_for_evaluation(root: Path, workspace: Path, params: Mapping[str, Any], settings: str) -> RunLog:
    """The record for an evaluation of the workspace's generator under `settings`.

    The newest training with this model takes the first evaluation, and the same one again; others get a child each. A
    model without a record (restored or pulled by DVC) gets one from its files.
    """
    with _choosing(root):
        training = _training_run_log(root, workspace, params)
        if training.tags.get("evaluation.settings") in (None, settings):
            training.log_tags({"evaluation.settings": settings})
            return training
        child = RunLog.create(root, f"{training.name}, evaluated otherwise", training.id, f"{training.id}-{settings}")
        model = training.tags["model.sha256"]
        child.log_tags({"model.sha256": model, "evaluation.settings": settings, **revision_tags()})
        return child


def restore(root: Path, workspace: Path) -> RunLog | None:
    """MetricLogger records what DVC put into the workspace without running a stage; None if there is no generator.

    Parameters come from dvc.lock: params.yaml may have been edited since.

    Raises:
        UserError: the files are not those of dvc.lock, so nobody knows how they were made.
    """
    if not (workspace / GENERATOR).exists():
        return None
    lock = _read_lock(workspace)
    if (problem := _foreign(workspace, lock, "train", GENERATOR)) is not None:
        if known := RunLog.find(root, {"model.sha256": sha256(workspace / GENERATOR)}):
            return known  # a stage run by hand: it has told its record itself
        raise UserError(f"{problem}: what made it is unknown; run `dvc repro`, or `dvc checkout` for what is recorded")
    params = _locked_params(lock, "train")
    if (workspace / SCORES).exists() and _foreign(workspace, lock, "evaluate", SCORES) is None:
        params |= _locked_params(lock, "sample") | _locked_params(lock, "evaluate")
        return log_evaluation(root, workspace, params)
    with _choosing(root):
        return _training_run_log(root, workspace, params)


def _choosing(root: Path) -> AbstractContextManager[None]:
    return hold(root / ".dcgan" / "run_logs.lock", "choosing a record", wait=60)


def _training_run_log(root: Path, workspace: Path, params: Mapping[str, Any]) -> RunLog:
    """The newest training with the workspace's generator; made from the files if there is none, or only half of one."""
    model = sha256(workspace / GENERATOR)
    found = RunLog.find(root, {"model.sha256": model})
    if found and not (found.is_restored and found.status == "RUNNING"):
        return found
    # Another clone may tell the same model to the same store: its record is another one, so the id names the clone
    clone = hashlib.sha256(f"{socket.gethostname()}:{root}".encode()).hexdigest()[:6]
    record = RunLog.create(root, f"restored-{model[:8]}", run_log_id=f"{RESTORED}{model[:16]}-{clone}")
    note = "Restored by DVC from a cache or a remote, told from its files: where and when it ran is not known."
    record.log_tags({"model.sha256": model, "mlflow.note.content": note, **revision_tags()})
    log_training(record, workspace, params)
    record.finish("FINISHED")
    return record


def _log_files(record: RunLog, workspace: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for path in sorted(workspace.glob(pattern)):
            record.log_file(path, str(path.parent.relative_to(workspace)))


def _log_dataset(record: RunLog, workspace: Path) -> None:
    images = workspace / "data/raw/train-images-idx3-ubyte"
    if images.exists():
        digest = sha256(images)
        record.log_dataset("MNIST", digest, "data/raw", "training")
        record.log_tags({"data.sha256": digest})


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with open(path, newline="") as stream:
        yield from csv.DictReader(stream)


# ---- dvc.lock ----


def _read_lock(workspace: Path) -> dict[str, Any]:
    try:
        return yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]
    except FileNotFoundError:
        return {}


def _locked_params(lock: dict[str, Any], stage: str) -> dict[str, Any]:
    return dict(lock[stage]["params"]["params.yaml"])


def _foreign(workspace: Path, lock: dict[str, Any], stage: str, path: str) -> str | None:
    """Why `path` is not what dvc.lock says that `stage` made from the outputs beside it; None if it is."""
    made = {out["path"]: out["md5"] for name in lock for out in lock[name].get("outs", [])}
    with open(workspace / path, "rb") as stream:
        if made.get(path) != hashlib.file_digest(stream, "md5").hexdigest():
            return f"{path} is not the one in dvc.lock"
    stale = [
        dep["path"] for dep in lock[stage].get("deps", []) if made.get(dep["path"], dep.get("md5")) != dep.get("md5")
    ]
    return f"{path} was made from another {stale[0]} than the one in dvc.lock" if stale else None
