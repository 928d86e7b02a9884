"""Logs what DVC restored from a cache or pulled from a remote without running a stage, with the help of dvc.lock."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcgan.support.errors import UserError
from dcgan.support.files import read_yaml, sha256
from dcgan.tracking.pipeline import TrackedPipeline, TrackedStage
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.stage_outputs import choosing_run_log, log_evaluation, log_served_model, training_run_log


@dataclass(frozen=True)
class LockedStage:
    """A stage as dvc.lock has it."""

    params: dict[str, Any]  # sections of params.yaml
    deps: dict[str, str | None]  # path -> MD5
    outs: dict[str, str | None]


def log_restored(pipeline: TrackedPipeline, root: Path, workspace: Path) -> RunLog | None:
    """The run log of the workspace's model and scores, made from the files if there is none; None without a model.

    Parameters come from dvc.lock: params.yaml may have been edited since.

    Raises:
        UserError: the files are not the ones in dvc.lock, so it is unknown how they were made; or dvc.lock cannot be
            read.
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
    if _has_locked_scores(pipeline, workspace, locked):
        params = _locked_params(locked, pipeline.train, *pipeline.evaluation_stages)
        return log_evaluation(pipeline, root, workspace, params)
    with choosing_run_log(root):
        return training_run_log(pipeline, root, workspace, _locked_params(locked, pipeline.train))


def log_scored_model(pipeline: TrackedPipeline, root: Path, workspace: Path) -> RunLog:
    """The run log of the training that made the workspace's model, with the model as MLflow serves it.

    Raises:
        UserError: there is no model; or the scores are not those of this model, according to dvc.lock.
    """
    run_log = log_restored(pipeline, root, workspace)
    if run_log is None:
        raise UserError(f"there is no {pipeline.model}; train one: `dvc repro`")
    if (mismatch := _scores_mismatch(pipeline, workspace)) is not None:
        raise UserError(f"{mismatch}, so these scores may be of another model; run `dvc repro`")
    training = RunLog.open(root, run_log.parent) if run_log.parent else run_log
    log_served_model(pipeline, training, workspace)
    return training


def _scores_mismatch(pipeline: TrackedPipeline, workspace: Path) -> str | None:
    """Why the workspace's scores are not those of its model, according to dvc.lock; None if they are."""
    locked = _locked_stages(workspace)
    outputs = [(pipeline.train, pipeline.model), (pipeline.evaluate, pipeline.scores)]
    for stage, path in outputs:
        if not (workspace / path).exists():
            return f"there is no {path}"
        if (mismatch := _mismatch(workspace, locked, stage.name, path)) is not None:
            return mismatch
    made = _made(locked)
    for stage in pipeline.evaluation_stages:
        for dep, md5 in locked[stage.name].deps.items() if stage.name in locked else ():
            if made.get(dep, md5) != md5:
                return f"stage {stage.name} of dvc.lock was not run with the {dep} there"
    return None


def _has_locked_scores(pipeline: TrackedPipeline, workspace: Path, locked: dict[str, LockedStage]) -> bool:
    exist = (workspace / pipeline.scores).exists()
    return exist and _mismatch(workspace, locked, pipeline.evaluate.name, pipeline.scores) is None


def _locked_stages(workspace: Path) -> dict[str, LockedStage]:
    """By name; none if there is no dvc.lock."""
    path = workspace / "dvc.lock"
    if not path.exists():
        return {}
    try:
        return {name: _locked_stage(stage) for name, stage in read_yaml(path)["stages"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not as DVC writes it ({type(error).__name__}: {error}); restore it") from error


def _locked_stage(stage: dict[str, Any]) -> LockedStage:
    deps, outs = ({entry["path"]: entry.get("md5") for entry in stage.get(key, [])} for key in ("deps", "outs"))
    return LockedStage(dict(stage.get("params", {}).get("params.yaml", {})), deps, outs)


def _locked_params(locked: dict[str, LockedStage], *stages: TrackedStage) -> dict[str, Any]:
    params = {}
    for stage in stages:
        params |= locked[stage.name].params if stage.name in locked else {}
        for section in stage.sections:
            if section not in params:
                raise UserError(f"dvc.lock has no parameters {section!r} of stage {stage.name!r}; run `dvc repro`")
    return params


def _made(locked: dict[str, LockedStage]) -> dict[str, str | None]:
    """Output -> MD5."""
    return {out: md5 for each in locked.values() for out, md5 in each.outs.items()}


def _mismatch(workspace: Path, locked: dict[str, LockedStage], stage: str, path: Path) -> str | None:
    """Why `path` is not what `stage` made, according to dvc.lock, from the outputs of the stages before; None if it
    is."""
    made = _made(locked)
    with open(workspace / path, "rb") as stream:
        if stage not in locked or made.get(str(path)) != hashlib.file_digest(stream, "md5").hexdigest():
            return f"{path} is not the one in dvc.lock"
    changed = [dep for dep, md5 in locked[stage].deps.items() if made.get(dep, md5) != md5]
    return f"{path} was not made from the {changed[0]} in dvc.lock" if changed else None
