"""The generator that a command draws with: the one that was named, else the trained one, else the ready-made one."""

import argparse
from pathlib import Path

from dcgan.paths import GENERATOR, READY_MADE_GENERATOR, user_path
from dcgan.support.errors import UserError


def add_generator_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--generator",
        type=user_path,
        help="generator file (default: the trained generator if there is one, else the ready-made one)",
    )


def chosen_generator(named: Path | None) -> Path:
    if named is not None:
        return named
    return GENERATOR if GENERATOR.exists() else READY_MADE_GENERATOR


def load_conditional_generator(path: Path):
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
