"""A sweep is a run of its own, the parent of its trainings' runs in MLflow."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from dcgan.tracking.description import log_description, log_end, log_resumption
from dcgan.tracking.names import SWEEP_TAG
from dcgan.tracking.provenance import revision_tags
from dcgan.tracking.run_log import RunLog

SETTINGS_TAG = "sweep.settings"


def start_or_resume_sweep(root: Path, kind: str, commit: str, options: Sequence[str]) -> RunLog:
    """The run log of a sweep; the same one at every call with the same arguments. Call it in the workspace."""
    key = hashlib.sha256("\n".join([commit, *sorted(options)]).encode()).hexdigest()[:8]
    run_log = RunLog.create(root, f"{kind}-{key}", run_log_id=f"{kind}-{key}")
    if run_log.status != "RUNNING":
        log_resumption(run_log)
    run_log.log_tags({SETTINGS_TAG: " ".join(options), **revision_tags(root)})
    log_description(run_log)
    return run_log


def end_abandoned(root: Path, sweep_id: str, experiments: Iterable[str]) -> None:
    """End the sweep's trainings of these finished experiments that say RUNNING: a machine was lost, and another kind
    of machine could not go on from its checkpoint."""
    finished = set(experiments)
    for run_log in RunLog.all(root):
        is_of_sweep = run_log.tags.get(SWEEP_TAG) == sweep_id and run_log.tags.get("dvc.exp_name") in finished
        if is_of_sweep and run_log.status == "RUNNING":
            log_end(run_log, "KILLED", "its machine was lost, and another kind of machine trained anew")


def core_seconds_per_image(root: Path) -> float | None:
    """Of the newest run with scores that was not interrupted, from its start to its last score, divided by the images
    it trained with; None if there is none."""
    for run_log in reversed(RunLog.all(root)):
        events = [event for event, _ in run_log.events()]
        ends = [event for event in events if event["event"] == "status"]
        last = max((event["time"] for event in events if event["event"] == "points"), default=0)
        is_whole = any(key[1].startswith("eval/") for key in run_log.logged("point"))
        if is_whole and len(ends) == 1 and not run_log.parent and "train.images" in run_log.params:
            # In a sweep each run has a core, however many workers share it
            cores = 1 if SWEEP_TAG in run_log.tags else int(run_log.params.get("train.workers", 1))
            return (last - run_log.started) / 1000 * cores / int(run_log.params["train.images"])
    return None
