"""`dcgan publish`: send to MLflow what it does not have yet."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan.paths import root_folder
from dcgan.support.errors import UserError
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.locations import redact_password, refusal, store_uri, summarize_error
from dcgan.tracking.restored import log_restored
from dcgan.tracking.run_log import RunLog, damaged_run_logs

if TYPE_CHECKING:
    from dcgan.tracking.mlflow_store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workspace",
        action="store_true",
        help="only the results in this folder, for instance after DVC took them from its cache",
    )
    parser.epilog = (
        "Sends what a store that was down could not take, and what DVC restored from its cache or pulled from a remote "
        "without running a stage. What the store has is not sent again. The store is MLFLOW_TRACKING_URI, or SQLite in "
        "the repository if that is not set."
    )


def run(args: argparse.Namespace) -> int:
    root = root_folder()
    uri = store_uri(root)
    problems: list[UserError] = []
    run_logs = []
    try:
        if workspace_run_log := log_restored(PIPELINE, root, Path.cwd()):
            run_logs = [workspace_run_log]
    except UserError as error:
        problems.append(error)  # existing run logs are sent all the same
    if not args.workspace:
        problems += damaged_run_logs(root)
        run_logs = RunLog.all(root)
    report(problems)
    sent, not_sent = publish_all(run_logs, uri)
    report(not_sent)
    problems += not_sent
    print(f"{redact_password(uri)}: {len(run_logs)} run log(s), {sent} of them with something new")
    return problems[0].exit_code if problems else 0


def report(problems: list[UserError]) -> None:
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)


def publish_all(run_logs: list[RunLog], uri: str) -> tuple[int, list[UserError]]:
    """Send all of them; returns how many had something new, and why others could not be sent.

    Raises:
        UserError: the store does not answer.
    """
    sent, problems = 0, []
    with open_store(uri) as store:
        for run_log in run_logs:
            try:
                sent += store.publish(run_log) > 0
            except UserError as error:
                problems.append(error)
    return sent, problems


@contextmanager
def open_store(uri: str) -> Iterator["Store"]:
    """The store with that address.

    Raises:
        UserError: it does not answer or refuses, when it is opened or later in the block.
    """
    with explained(uri):
        from dcgan.tracking.mlflow_store import Store

        yield Store(uri)


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """What a store raises in the block, as a `UserError`."""
    from dcgan.tracking.mlflow_store import STORE_ERRORS  # importing MLflow takes seconds

    try:
        yield
    except STORE_ERRORS as error:
        remedy = "then" if refusal(error) else "start it, or set MLFLOW_TRACKING_URI to another one, then"
        raise UserError(
            f"cannot use the store {redact_password(uri)} ({summarize_error(error)}); {remedy} run this again: it "
            "continues where it stopped"
        ) from error
