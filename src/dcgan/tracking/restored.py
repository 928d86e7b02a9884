"""Logs what DVC restored from a cache or pulled from a remote without running a stage, with the help of dvc.lock."""

import hashlib
from pathlib import Path
from typing import Any

import yaml

from dcgan.support.errors import UserError
from dcgan.support.files import sha256
from dcgan.tracking.pipeline import TrackedPipeline
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.stage_outputs import choosing_run_log, log_evaluation, training_run_log


def log_restored(pipeline: TrackedPipeline, root: Path, workspace: Path) -> RunLog | None:
    """The run log of the workspace's model and scores, made from the files if there is none; None without a model.

    Parameters come from dvc.lock: params.yaml may have been edited since.

    Raises:
        UserError: the files are not the ones in dvc.lock, so it is unknown how they were made.
    """
    model = workspace / pipeline.model
    if not model.exists():
        return None
    locked = _locked_stages(workspace)
    if (mismatch := _mismatch(workspace, locked, pipeline.train.name, pipeline.model)) is not None:
        if logged := RunLog.find(root, {"model.sha256": sha256(model)}):
            return logged  # by a stage that was run without DVC
        raise UserError(
            f"{mismatch}, so it is unknown how it was made; run `dvc repro`, or `dvc checkout` for what dvc.lock names"
        )
    params = _locked_params(locked, pipeline.train.name)
    if _has_locked_scores(pipeline, workspace, locked):
        for stage in pipeline.evaluation_stages:
            params |= _locked_params(locked, stage.name)
        return log_evaluation(pipeline, root, workspace, params)
    with choosing_run_log(root):
        return training_run_log(pipeline, root, workspace, params)


def _has_locked_scores(pipeline: TrackedPipeline, workspace: Path, locked: dict[str, Any]) -> bool:
    exist = (workspace / pipeline.scores).exists()
    return exist and _mismatch(workspace, locked, pipeline.evaluate.name, pipeline.scores) is None


def _locked_stages(workspace: Path) -> dict[str, Any]:
    try:
        return yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]
    except FileNotFoundError:
        return {}


def _locked_params(locked: dict[str, Any], stage: str) -> dict[str, Any]:
    return dict(locked[stage]["params"]["params.yaml"])


def _mismatch(workspace: Path, locked: dict[str, Any], stage: str, path: Path) -> str | None:
    """Why `path` is not what `stage` made, according to dvc.lock, from the outputs of the stages before; None if it
    is."""
    made = {out["path"]: out["md5"] for name in locked for out in locked[name].get("outs", [])}
    with open(workspace / path, "rb") as stream:
        if made.get(str(path)) != hashlib.file_digest(stream, "md5").hexdigest():
            return f"{path} is not the one in dvc.lock"
    changed = [
        dep["path"] for dep in locked[stage].get("deps", []) if made.get(dep["path"], dep.get("md5")) != dep.get("md5")
    ]
    return f"{path} was not made from the {changed[0]} in dvc.lock" if changed else None
