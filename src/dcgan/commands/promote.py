"""`dcgan promote`: this model becomes the champion in MLflow's registry, unless its scores are a regression."""

import argparse
from pathlib import Path

from dcgan.commands import check
from dcgan.commands.publish import open_store
from dcgan.gate_settings import GATE
from dcgan.paths import root_folder
from dcgan.support.errors import UserError
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.locations import redact_password, store_uri
from dcgan.tracking.restored import log_scored_model

CHAMPION = "champion"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Exit 0: promoted; 1: a regression, and the champion stays as it was; 2: not comparable, or another error."
    )


def run(args: argparse.Namespace) -> int:
    root = root_folder()
    uri = store_uri(root)
    run_log = log_scored_model(PIPELINE, root, Path.cwd())
    name = PIPELINE.served.name
    if check.compared([str(GATE.scores_file)]).failed:
        raise Regression(f"this model is worse than the baseline, so {name}@{CHAMPION} stays as it was; see the table")
    with open_store(uri) as store:
        version = store.register(run_log, name)
        before = store.models.promote(version, CHAMPION)
    replaced = f", in place of version {before}" if before not in (None, str(version.version)) else ""
    print(f"models:/{name}@{CHAMPION} is version {version.version} in {redact_password(uri)}{replaced}")
    return 0


class Regression(UserError):
    """The gate is red."""

    exit_code = 1
