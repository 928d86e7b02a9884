"""The `dcgan` command. Each of its commands is a module in `dcgan.commands`."""

import argparse
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dcgan.paths import workspace
from dcgan.support.errors import UserError, exit_on_user_error

# Command -> one line of help. Its module is dcgan.commands.<name>, with underscores for dashes, and has
# add_arguments(parser) and run(args) -> exit code. A module is imported only when its command runs, and imports torch,
# MLflow and what needs them in run(): that takes seconds, and neither --help nor a mistyped option should.
# Commands run in the workspace, wherever in it the user is: an argument that is a path has the type `user_path`.
COMMANDS = {
    "params": "check all of params.yaml",
    "draw": "write a number in handwritten digits: dcgan draw 2026 -o year.png",
    "dataset": "write labeled digits as a data set: dcgan dataset -o FOLDER --count 1000000",
    "onnx": "write the generator as an ONNX file, for use without PyTorch",
    "report": "print the scores of the last run next to those of real data",
    "quiz": "write 40 pairs of a real and a generated digit, and count how often you tell them apart",
    "ui": "open the comparison of runs in MLflow",
    "check": "compare metrics/evaluate.json with a baseline: exit 0 OK, 1 regression, 2 not comparable",
    "promote": "make this model the champion that MLflow serves, if `dcgan check` finds no regression",
    "sweep": "make a run for every combination of settings: dcgan sweep -S train.seed=1..12",
    "baseline": "measure a new baseline over several seeds",
    "publish": "send run logs to MLflow, including those of stages that DVC restored from its cache",
    "clean": "show stale runs and old checkpoints, and remove them with --yes",
    "feature-extractor": "train the digit feature extractor that the scores are measured with",
}


# Only `draw` runs with what the wheel installs. These need an extra of their own, the others the extra `pipeline`.
EXTRAS = {"dataset": "datasets", "onnx": "onnx"}


@contextmanager
def _explain_missing_package(command: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "dcgan":
            raise
        extra = EXTRAS.get(command, "pipeline")
        in_clone = "pip install -e '.[onnx]'" if extra == "onnx" else "make repro"
        raise UserError(
            f"the package {error.name.partition('.')[0]} is not installed, and this command needs it; install it with "
            f"`{in_clone}` in a clone of the repository, or else with the extra: pip install 'FILE.whl[{extra}]'"
        ) from error


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the list of all options."""

    def error(self, message: str) -> None:
        raise UserError(f"{message}; `{self.prog} --help` shows what is allowed")


class _Version(argparse.Action):
    """argparse's own action needs the version in advance; looking it up takes as long as all the rest."""

    def __call__(self, parser: argparse.ArgumentParser, *_) -> None:
        from importlib.metadata import version

        print(f"dcgan {version('dcgan-mnist')}")
        parser.exit()


@exit_on_user_error
def main(argv: list[str] | None = None) -> int | None:
    parser = _Parser(
        prog="dcgan",
        description="Handwritten digits from a DCGAN.",
        epilog=_command_list() + "\n\n`dcgan COMMAND --help` lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    chosen = parser.parse_args((sys.argv[1:] if argv is None else argv) or ["--help"])
    with _explain_missing_package(chosen.command):
        return _run(chosen.command, chosen.arguments)


def _run(name: str, arguments: list[str]) -> int | None:
    module = importlib.import_module(f"dcgan.commands.{name.replace('-', '_')}")
    command = _Parser(prog=f"dcgan {name}", description=COMMANDS[name])
    module.add_arguments(command)
    args = command.parse_args(arguments)
    os.chdir(workspace())
    return module.run(args)


def _command_list() -> str:
    width = max(map(len, COMMANDS))
    return "commands:\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())


if __name__ == "__main__":
    main()
