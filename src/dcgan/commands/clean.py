"""`dcgan clean`: runs whose process is dead, checkpoints that nobody uses, run logs that MLflow has in full."""

import argparse
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dcgan.commands.publish import open_store, publish_all, report
from dcgan.gan.finished_training import is_finished
from dcgan.gan.training_session import lock_path, remove_session, run_log_id, session_folders
from dcgan.paths import GENERATOR, local_state, root_folder
from dcgan.support.errors import UserError
from dcgan.support.files import sha256
from dcgan.support.lock import hold, is_held
from dcgan.tracking.description import log_end
from dcgan.tracking.locations import clone_id, redact_password, run_logs_folder, sqlite_path, store_uri
from dcgan.tracking.names import CLONE_TAG, RUN_LOG_TAG
from dcgan.tracking.run_log import FINAL, RunLog, damaged_run_logs
from dcgan.tracking.sent import is_pending_anywhere, pending_run_logs, unsent_run_logs

OLD_DAYS = 7


@dataclass
class Item:
    text: str
    clean: Callable[[], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do it; without it, only show what would be done")


def run(args: argparse.Namespace) -> int:
    root = root_folder()
    uri = store_uri(root)
    problems: list[UserError] = [*damaged_run_logs(root)]
    report(problems)
    items = [*dead_run_logs(root), *orphaned_runs(root, uri), *checkpoints(root), *old_run_logs(root, uri, Path.cwd())]
    for item in items:
        if args.yes:
            item.clean()
        print(f"{'done: ' if args.yes else ''}{item.text}")
    if not items:
        print("nothing to clean")
    elif args.yes:
        pending = set(pending_run_logs(root, uri))
        not_sent = publish_all([run_log for run_log in RunLog.all(root) if run_log.folder in pending], uri)[1]
        report(not_sent)
        problems += not_sent
    else:
        print("nothing was changed; `dcgan clean --yes` does all of it")
    return problems[0].exit_code if problems else 0


def dead_run_logs(root: Path) -> list[Item]:
    """Run logs that say RUNNING although no living process writes to them; their runs in MLflow say the same."""
    dead = [run_log for run_log in RunLog.all(root) if run_log.status == "RUNNING" and not run_log.is_alive]
    return [
        Item(
            f"run {run_log.name} ({run_log.id}): its trainer is dead, mark it KILLED",
            partial(log_end, run_log, "KILLED", "its process died without reporting why; marked by `dcgan clean`"),
        )
        for run_log in dead
    ]


def orphaned_runs(root: Path, uri: str) -> list[Item]:
    """Runs in a local store that say RUNNING, were created by this clone, and whose run log is gone: other clones that
    use the store have run logs of their own."""
    database = sqlite_path(uri)
    if database is None or not database.exists():
        return []
    ids = {path.name for path in run_logs_folder(root).glob("*")}
    with open_store(uri) as store:
        runs = store.runs.search(f"attributes.status = 'RUNNING' and tags.`{CLONE_TAG}` = '{clone_id(root)}'")
    return [
        Item(
            f"run {run.info.run_name} ({run.info.run_id}): its run log is gone, mark it KILLED",
            partial(mark_killed, uri, run.info.run_id),
        )
        for run in runs
        if run.info.lifecycle_stage == "active" and run.data.tags[RUN_LOG_TAG] not in ids
    ]


def checkpoints(root: Path) -> list[Item]:
    """Folders of trainings that no living process holds: interrupted ones, and finished ones kept for their outputs.

    A folder whose run log is written to is left alone too: its lock may have been deleted a moment ago.
    """
    state = local_state(root)
    alive = {run_log.id for run_log in RunLog.all(root) if run_log.is_alive}
    return [
        Item(
            f"{'finished training' if is_finished(folder) else 'checkpoint'} {folder} "
            f"({megabytes(folder):.1f} MB, {age_days(folder):.1f} days old)",
            partial(remove_checkpoint, state, folder),
        )
        for folder in session_folders(state)
        if not is_held(lock_path(state, folder.name)) and run_log_id(folder) not in alive
    ]


def old_run_logs(root: Path, uri: str, workspace: Path) -> list[Item]:
    """Finished run logs that this store and those they were begun for have in full, unchanged for a week, and not of
    the model in the workspace."""
    generator = workspace / GENERATOR
    model = sha256(generator) if generator.exists() else None
    unsent = set(unsent_run_logs(root, uri))
    run_logs = RunLog.all(root)
    old = {
        run_log.id: run_log
        for run_log in run_logs
        if run_log.status in FINAL
        and run_log.folder not in unsent
        and not is_pending_anywhere(run_log.folder)
        and (model is None or run_log.tags.get("model.sha256") != model)
        and age_days(run_log.folder / "events.jsonl") > OLD_DAYS
    }
    needed = {run_log.parent for run_log in run_logs if run_log.id not in old}
    return [
        Item(
            f"run log {run_log.name} ({run_log.id}): sent in full to {redact_password(uri)}",
            partial(shutil.rmtree, run_log.folder),
        )
        for run_log in old.values()
        if run_log.id not in needed
    ]


def mark_killed(uri: str, run_id: str) -> None:
    with open_store(uri) as store:
        store.runs.set_status(run_id, "KILLED", int(time.time() * 1000))


def remove_checkpoint(state: Path, folder: Path) -> None:
    with hold(lock_path(state, folder.name), "dcgan clean"):
        if folder.exists():  # a training that starts removes finished ones, too
            remove_session(folder)


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def age_days(path: Path) -> float:
    return (time.time() - path.stat().st_mtime) / 86_400
