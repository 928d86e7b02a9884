"""The `dcgan` command. Each of its commands is a module in `dcgan.commands`."""

import argparse
import importlib
from collections.abc import Iterator
from contextlib import contextmanager

from dcgan.support.errors import UserError, exit_on_user_error

# Command -> one line of help. Its module is dcgan.commands.<name>, with underscores for dashes, and has
# add_arguments(parser) and run(args) -> exit code. A module is imported only when its command runs: importing torch
# or MLflow takes seconds.
COMMANDS = {
    "params": "check all of params.yaml",
    "draw": "write a number in handwritten digits: dcgan draw 2026 -o year.png",
    "report": "print the scores of the last run next to those of real data",
    "ui": "open the comparison of runs in MLflow",
    "check": "compare metrics/evaluate.json with a baseline: exit 0 OK, 1 regression, 2 not comparable",
    "baseline": "measure a new baseline over several seeds",
    "publish": "send run logs to MLflow, including those of stages that DVC restored from its cache",
    "clean": "show stale runs and old checkpoints, and remove them with --yes",
    "feature-extractor": "train the digit feature extractor that the scores are measured with",
}


@contextmanager
def _explain_missing_package() -> Iterator[None]:
    """Only `draw` runs with what the wheel installs; the other commands need the packages of the extra `pipeline`."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "dcgan":
            raise
        raise UserError(
            f"the package {error.name.partition('.')[0]} is not installed, and this command needs it; use a clone of "
            "the repository, where `make repro` installs everything, or add the extra: pip install 'FILE.whl[pipeline]'"
        ) from error


@exit_on_user_error
@_explain_missing_package()
def main(argv: list[str] | None = None) -> int | None:
    parser = argparse.ArgumentParser(
        prog="dcgan",
        description="Handwritten digits from a DCGAN.",
        epilog=_command_list() + "\n\n`dcgan COMMAND --help` lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    module = importlib.import_module(f"dcgan.commands.{chosen.command.replace('-', '_')}")
    command = argparse.ArgumentParser(prog=f"dcgan {chosen.command}", description=COMMANDS[chosen.command])
    module.add_arguments(command)
    return module.run(command.parse_args(chosen.arguments))


def _command_list() -> str:
    width = max(map(len, COMMANDS))
    return "commands:\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())


if __name__ == "__main__":
    main()
