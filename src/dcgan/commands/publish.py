"""`dcgan publish`: send to MLflow what it does not have yet."""

import argparse
import sys
from pathlib import Path

from dcgan.errors import UserError
from dcgan.record import Record
from dcgan.store import reason, root_folder, shown, store_uri
from dcgan.workspace import restore


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
    records = Record.all(root)
    sent = publish_all(records, uri)
    print(f"{shown(uri)}: {len(records)} record(s), {sent} of them with something new")
    return code


def publish_all(records: list[Record], uri: str) -> int:
    """Send all of them; returns how many had something new.

    Raises:
        UserError: the store does not answer, or refuses.
    """
    from dcgan.tracking import MlflowException, Store

    try:
        store = Store(uri)
        return sum(store.publish(record) > 0 for record in records)
    except MlflowException as error:
        raise UserError(
            f"cannot send to {shown(uri)} ({reason(error)}); start it or set MLFLOW_TRACKING_URI, then run "
            "`dcgan publish` again: it goes on where it stopped"
        ) from error
