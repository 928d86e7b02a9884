"""`dcgan ...`: the commands for people. Each lives in a module of its own under `dcgan.commands`."""

import argparse
import importlib

from dcgan.support.errors import exit_on_user_error

# name -> one line of help; module dcgan.commands.<name> has add_arguments(parser) and run(args) -> exit code.
# Modules are imported only when their command runs: importing torch or MLflow takes seconds.
COMMANDS = {
    "params": "check all of params.yaml before DVC touches anything",
    "draw": "write a number by hand: dcgan draw 2026 -o year.png",
    "feature-extractor": "make the digit feature network that the scores are measured with",
    "report": "print the scores of the last run beside those of real data",
    "publish": "send local records to MLflow, also what DVC restored without running",
    "ui": "open the comparison of runs in the browser",
    "clean": "show and remove stale runs and old checkpoints",
    "check": "compare metrics/evaluate.json with a baseline: exit 0 fine, 1 regression, 2 not comparable",
    "baseline": "measure a new baseline over several seeds",
}


@exit_on_user_error
def main(argv: list[str] | None = None) -> int | None:
    parser = argparse.ArgumentParser(prog="dcgan", description="Handwritten digits from a DCGAN.")
    parser.add_argument("command", choices=COMMANDS, metavar="command", help="one of those below")
    parser.epilog = "\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    module = importlib.import_module(f"dcgan.commands.{chosen.command}")
    command = argparse.ArgumentParser(prog=f"dcgan {chosen.command}", description=COMMANDS[chosen.command])
    module.add_arguments(command)
    return module.run(command.parse_args(chosen.arguments))


if __name__ == "__main__":
    main()
