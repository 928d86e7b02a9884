"""`dcgan publish`: send to MLflow what it does not have yet."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan.paths import root_folder
from dcgan.support.errors import UserError
from dcgan.tracking.locations import reason, redact_password, store_uri
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.stage_outputs import restore

if TYPE_CHECKING:
    from dcgan.tracking.mlflow_store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Sends the records that a store which was down could not take, and what DVC restored from its cache or pulled "
        "from a remote without running a stage. What the store has is not sent again. The store: MLFLOW_TRACKING_URI, "
        "else SQLite in the repository."
    )


def run(args: argparse.Namespace) -> int:
    root = root_folder()
    uri = store_uri(root)
    code = 0
    try:
        restore(root, Path.cwd())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code  # the records are sent all the same
    records = RunLog.all(root)
    sent = publish_all(records, uri)
    print(f"{redact_password(uri)}: {len(records)} record(s), {sent} of them with something new")
    return code


def publish_all(records: list[RunLog], uri: str) -> int:
    """Send all of them; returns how many had something new."""
    with talking_to(uri) as store:
        return sum(store.publish(record) > 0 for record in records)


@contextmanager
def talking_to(uri: str) -> Iterator["Store"]:
    """The store of that address.

    Raises:
        UserError: it does not answer, or refuses, at the beginning or later.
    """
    from dcgan.tracking.mlflow_store import STORE_ERRORS, Store

    try:
        yield Store(uri)
    except STORE_ERRORS as error:
        raise UserError(
            f"cannot use the store {redact_password(uri)} ({reason(error)}); start it, or set MLFLOW_TRACKING_URI to another, "
            "then run this again: it goes on where it stopped"
        ) from error
