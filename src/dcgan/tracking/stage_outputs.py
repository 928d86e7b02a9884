"""Logs what stages leave in a workspace: called by the stages when they are done, and for what DVC restored from a
cache or pulled from a remote, where no stage ran (`dcgan.tracking.restored`).

A workspace is the folder that the pipeline's paths are relative to; `root` is the repository whose run logs are used.
`params` is all of params.yaml.
"""

import csv
import hashlib
import json
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from dcgan.support.errors import UserError
from dcgan.support.files import read_json, sha256
from dcgan.support.lock import hold
from dcgan.tracking.comparison import IMAGES, LAST_STEP
from dcgan.tracking.description import log_description
from dcgan.tracking.events import flatten
from dcgan.tracking.locations import clone_id, run_logs_lock, store_uri
from dcgan.tracking.pipeline import TrackedPipeline
from dcgan.tracking.provenance import revision_tags
from dcgan.tracking.run_log import RESTORED, Damaged, RunLog
from dcgan.tracking.sent import begin

Params = Mapping[str, Any]
IMAGE_AT_STEP = re.compile(r".+-(?P<step>\d+)\.png")


def log_training_parameters(pipeline: TrackedPipeline, run_log: RunLog, params: Params) -> None:
    """The parameters and the description, at the start of a training: for a run that never gets to its outputs.

    A resumed training keeps the parameters it started with. They may be written otherwise now (a precision "auto", then
    by its name), but not mean anything else.
    """
    sections = {section: params[section] for section in pipeline.train.sections}
    run_log.log_params({key: text for key, text in flatten(sections).items() if key not in run_log.params})
    log_description(run_log)


def log_training(pipeline: TrackedPipeline, run_log: RunLog, workspace: Path, params: Params) -> None:
    """The outputs of a finished training: parameters, series, images, files, data set, the model to be
    served, and last its hash.

    What the training logged while it ran is skipped.
    """
    log_training_parameters(pipeline, run_log, params)
    for row in _rows(workspace / pipeline.curves):
        step = int(row.pop(pipeline.curves_step))
        points = {f"train/{key}": float(row[key]) for key in row if row[key] and key not in pipeline.curves_ignored}
        run_log.log_points(points, step)
    _log_progress(run_log, workspace, pipeline.progress)
    _log_files(run_log, workspace, pipeline.train.files)
    _log_dataset(pipeline, run_log, workspace)
    log_served_model(pipeline, run_log, workspace)
    run_log.log_tags({"model.sha256": sha256(workspace / pipeline.model)})


def log_served_model(pipeline: TrackedPipeline, run_log: RunLog, workspace: Path) -> None:
    """The model as MLflow serves it: its weights and the code of this checkout. Nothing if it cannot be served."""
    served = pipeline.served
    if served is None or run_log.params.get(served.only_if) != "true":
        return
    weights = workspace / pipeline.model
    place = f"artifacts/{weights.name}"
    code = {f"code/{path}": served.source / path for path in served.code}
    entry = PurePosixPath(served.entry).name
    run_log.log_model(
        served.name,
        sha256(weights),
        {place: weights, entry: served.source / served.entry, **code},
        {
            "entry": entry,
            "weights": {served.weights: place},
            "signature": dict(served.signature),
            "example": served.example,
            "requirements": [f"{name}=={version(name).partition('+')[0]}" for name in served.packages],
            "python": platform.python_version(),
        },
    )


def log_samples(pipeline: TrackedPipeline, root: Path, workspace: Path, params: Params) -> RunLog:
    """The outputs of the sample stage, in the run log that their evaluation will go to."""
    run_log = run_log_for_evaluation(pipeline, root, workspace, params)
    run_log.log_params({section: params[section] for section in pipeline.sample.sections})
    _log_files(run_log, workspace, pipeline.sample.files)
    return run_log


def log_evaluation(pipeline: TrackedPipeline, root: Path, workspace: Path, params: Params) -> RunLog:
    """The outputs of an evaluation, in the run log they belong to, which is returned.

    Scores are logged at step 0. Other scores under the same parameters (from other code or other libraries) are another
    evaluation.
    """
    scores = read_json(workspace / pipeline.scores)
    points = {
        pipeline.score_series(key): value
        for key, value in scores.items()
        if type(value) in (int, float) and not any(fnmatch(key, pattern) for pattern in pipeline.scores_ignored)
    }
    run_log = run_log_for_evaluation(pipeline, root, workspace, params)
    if any(run_log.value("point", key, 0) not in (None, value) for key, value in points.items()):
        run_log = run_log_for_evaluation(pipeline, root, workspace, params, scores)
    for stage in pipeline.evaluation_stages:
        run_log.log_params({section: params[section] for section in stage.sections})
        _log_files(run_log, workspace, stage.files)
    run_log.log_points(points, 0)
    protocol = scores.get("protocol", {})
    run_log.log_tags({f"protocol.{key}": protocol[key] for key in pipeline.protocol_tags if key in protocol})
    log_description(run_log)
    if run_log.parent:
        run_log.finish("FINISHED")
    return run_log


def run_log_for_evaluation(
    pipeline: TrackedPipeline, root: Path, workspace: Path, params: Params, *more: Any
) -> RunLog:
    """The run log for an evaluation of the workspace's model under these parameters (and `more`, JSON values).

    The first evaluation of a model belongs to its newest training, and so does the same one repeated; any other becomes
    a child. A model without a run log (restored or pulled by DVC) gets one from its files.
    """
    settings = settings_hash(pipeline, params, *more)
    with choosing_run_log(root):
        training = training_run_log(pipeline, root, workspace, params)
        if training.tags.get("evaluation.settings") in (None, settings):
            training.log_tags({"evaluation.settings": settings})
            return training
        child = _create(root, f"{training.name} (re-evaluated)", f"{training.id}-{settings}", training.id)
        model = training.tags["model.sha256"]
        child.log_tags({"model.sha256": model, "evaluation.settings": settings, **revision_tags(root)})
        return child


def settings_hash(pipeline: TrackedPipeline, params: Params, *more: Any) -> str:
    """Hash of what distinguishes evaluations of one model: the parameters of the evaluation stages, and `more`."""
    sections = {section: params[section] for stage in pipeline.evaluation_stages for section in stage.sections}
    settings = flatten(sections | {"more": json.dumps(more)})
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def training_run_log(pipeline: TrackedPipeline, root: Path, workspace: Path, params: Params) -> RunLog:
    """The newest training of the workspace's model; made from the files if there is none, or an incomplete one."""
    model = sha256(workspace / pipeline.model)
    found = RunLog.find(root, {"model.sha256": model})
    if found and not (found.is_restored and found.status == "RUNNING"):
        begin(found.folder, store_uri(root))
        return found
    # Another clone may log the same model to the same store, in a run log with other times: so the id names the clone
    run_log = _create(root, f"restored-{model[:8]}", f"{RESTORED}{model[:16]}-{clone_id(root)}")
    run_log.log_tags({"model.sha256": model, **revision_tags(root)})
    log_training(pipeline, run_log, workspace, params)
    run_log.finish("FINISHED")
    return run_log


def _create(root: Path, name: str, run_log_id: str, parent: str | None = None) -> RunLog:
    """Start the run log with this id, or continue it; if it is damaged, the next one with a number after the id."""
    for candidate in (run_log_id, *(f"{run_log_id}-{number}" for number in range(2, 100))):
        with suppress(Damaged):  # reported when run logs are sent
            return RunLog.create(root, name, parent, candidate)
    raise UserError(f"all run logs {run_log_id}-... are damaged; move them away")


def choosing_run_log(root: Path) -> AbstractContextManager[None]:
    """The lock under which a run log is looked up and created, so that two processes do not create two."""
    return hold(run_logs_lock(root), "choosing a run log", wait=60)


def _log_progress(run_log: RunLog, workspace: Path, folder: Path) -> None:
    """The images in `folder` for MLflow's slider, by percent of the training: the last one is of its end.

    Not that of step 0: a run that failed early would have no other, and MLflow may then show that step for all runs. An
    image without a step in its name is logged as a file.
    """
    images = sorted((workspace / folder).glob("*.png"))
    steps = {image: int(match["step"]) for image in images if (match := IMAGE_AT_STEP.fullmatch(image.name))}
    for image in images:
        if image not in steps:
            run_log.log_file(image, str(folder))
        elif steps[image]:
            run_log.log_image(IMAGES, image, round(LAST_STEP * steps[image] / max(steps.values())))


def _log_files(run_log: RunLog, workspace: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for path in sorted(workspace.glob(pattern)):
            run_log.log_file(path, str(path.parent.relative_to(workspace)))


def _log_dataset(pipeline: TrackedPipeline, run_log: RunLog, workspace: Path) -> None:
    data = workspace / pipeline.dataset
    if data.exists():
        digest = sha256(data)
        run_log.log_dataset(pipeline.dataset_name, digest, str(pipeline.dataset.parent), "training")
        run_log.log_tags({"data.sha256": digest})


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with open(path, newline="") as stream:
        yield from csv.DictReader(stream)
