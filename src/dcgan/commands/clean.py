"""`dcgan clean`: runs that only seem to be running, checkpoints nobody works on, records that MLflow has in full."""

import argparse
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dcgan.commands.publish import publish_all, talking_to
from dcgan.gan.training_session import lock_path, session_folder
from dcgan.paths import local_state, root_folder
from dcgan.support.files import sha256
from dcgan.support.lock import hold, is_held
from dcgan.tracking.locations import pending, redact_password, sqlite_path, store_uri
from dcgan.tracking.run_log import FINAL, RunLog
from dcgan.tracking.stage_outputs import GENERATOR

OLD_DAYS = 7


@dataclass
class Item:
    text: str
    remove: Callable[[], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do it; without it, only show what would be done")


def run(args: argparse.Namespace) -> None:
    root = root_folder()
    uri = store_uri(root)
    items = [*stale_records(root), *stray_runs(root, uri), *checkpoints(root), *old_records(root, uri, Path.cwd())]
    for item in items:
        if args.yes:
            item.remove()
        print(f"{'done: ' if args.yes else ''}{item.text}")
    if not items:
        print("nothing to clean")
    elif args.yes:
        publish_all([RunLog(folder) for folder in pending(root, uri)], uri)
    else:
        print("nothing was changed; `dcgan clean --yes` does all of it")


def stale_records(root: Path) -> list[Item]:
    """Those that say RUNNING although no living process writes them; their runs in MLflow say the same."""
    stale = [record for record in RunLog.all(root) if record.status == "RUNNING" and not record.is_alive]
    return [
        Item(f"run {record.name} ({record.id}): its trainer is dead, mark it KILLED", partial(record.finish, "KILLED"))
        for record in stale
    ]


def stray_runs(root: Path, uri: str) -> list[Item]:
    """Runs of the local store that say RUNNING and whose record is gone. A shared server's may belong to others."""
    database = sqlite_path(uri)
    if database is None or not database.exists():
        return []
    ids = {record.id for record in RunLog.all(root)}
    with talking_to(uri) as store:
        runs = store.find_runs("attributes.status = 'RUNNING' and tags.`dcgan.run_log` LIKE '%'")
    return [
        Item(
            f"run {run.info.run_name} ({run.info.run_id}): its record is gone, mark it KILLED",
            partial(store.set_status, run.info.run_id, "KILLED", int(time.time() * 1000)),
        )
        for run in runs
        if run.data.tags["dcgan.run_log"] not in ids
    ]


def checkpoints(root: Path) -> list[Item]:
    """Folders of interrupted trainings that no living trainer holds; without one, a training starts afresh."""
    state = local_state(root)
    folders = [path for path in sorted(session_folder(state, "*").parent.glob("*")) if path.is_dir()]
    return [
        Item(
            f"checkpoint {folder} ({megabytes(folder):.1f} MB, {age_days(folder):.1f} days old)",
            partial(drop, state, folder),
        )
        for folder in folders
        if not is_held(lock_path(state, folder.name))
    ]


def old_records(root: Path, uri: str, workspace: Path) -> list[Item]:
    """Ended records that the store has in full, untouched for a week, not of the model in the workspace."""
    generator = workspace / GENERATOR
    model = sha256(generator) if generator.exists() else None
    unsent = set(pending(root, uri))
    records = RunLog.all(root)
    old = {
        record.id: record
        for record in records
        if record.status in FINAL
        and record.folder not in unsent
        and (model is None or record.tags.get("model.sha256") != model)
        and age_days(record.folder / "events.jsonl") > OLD_DAYS
    }
    needed = {record.parent for record in records if record.id not in old}
    return [
        Item(
            f"record {record.name} ({record.id}): sent in full to {redact_password(uri)}",
            partial(shutil.rmtree, record.folder),
        )
        for record in old.values()
        if record.id not in needed
    ]


def drop(state: Path, folder: Path) -> None:
    with hold(lock_path(state, folder.name), "dcgan clean"):
        shutil.rmtree(folder)


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def age_days(path: Path) -> float:
    return (time.time() - path.stat().st_mtime) / 86_400
