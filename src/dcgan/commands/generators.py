"""The generator that a command draws with: the one that was named, else the trained one, else the ready-made one."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan.paths import GENERATOR, READY_MADE_GENERATOR, download_cache, root_folder, user_path
from dcgan.support.errors import UserError
from dcgan.tracking.locations import store_uri

if TYPE_CHECKING:
    from dcgan.gan.networks import Generator


def add_generator_option(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--generator",
        type=user_path,
        help="generator file (default: the trained generator if there is one, else the ready-made one)",
    )
    which.add_argument("--model", metavar="URI", help="a model registered in MLflow, as models:/dcgan@champion")


def chosen_generator(args: argparse.Namespace) -> Path:
    """The file of the generator that `add_generator_option`'s options name.

    Raises:
        UserError: there is no such registered model, or the store does not answer.
    """
    if args.model:
        return _registered_generator(args.model)
    if args.generator:
        return args.generator
    return GENERATOR if GENERATOR.exists() else READY_MADE_GENERATOR


def _registered_generator(model_uri: str) -> Path:
    from dcgan.commands.publish import explained

    root = root_folder()
    uri = store_uri(root)
    with explained(uri):
        from dcgan.tracking.mlflow_store import open_models

        return open_models(uri).download(model_uri, f"artifacts/{GENERATOR.name}", download_cache(root) / "models")


def load_conditional_generator(path: Path) -> "Generator":
    """The generator in a file, in evaluation mode.

    Raises:
        UserError: it is no generator of this project, or cannot draw a digit on request.
    """
    from dcgan.gan.model_files import load_network

    generator = load_network(path, "generator")
    if not generator.conditional:
        raise UserError(
            "this generator was trained with model.conditional: false and cannot draw a digit on request; "
            f"choose a conditional one, for example --generator {READY_MADE_GENERATOR}"
        )
    return generator
