"""`dcgan baseline`: train with several seeds as DVC experiments and write down what their scores spread around."""

import argparse
import hashlib
import os
import subprocess
import sys

from dcgan.gate.baseline import Run, build_baseline, reference_of
from dcgan.gate.markdown import baseline_text, markdown_table
from dcgan.gate.power import plan, powers_of
from dcgan.gate.revisions import BASELINE, experiments, git, library_versions, read_run_at, resolve
from dcgan.gate.thresholds import FEWEST_SEEDS
from dcgan.params import load_params
from dcgan.support.errors import UserError
from dcgan.support.files import write_json

PLANNED_SPREADS = (0.04, 0.05, 0.06, 0.07, 0.08, 0.10)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--seeds", type=int, metavar="N", help="train with the N seeds after train.seed")
    wanted.add_argument("--plan", action="store_true", help="only print how many seeds the gate needs at which spread")
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="as for `dvc exp run`: another setting for these runs",
    )
    parser.add_argument("-o", "--output", default=BASELINE, metavar="FILE", help=f"default: {BASELINE}")


def run(args: argparse.Namespace) -> None:
    if args.plan:
        header = ["baseline seeds", "candidate seeds", "false alarms", *(f"{100 * s:.0f} %" for s in PLANNED_SPREADS)]
        print("How often FID worse by 50 % is caught, by the spread of FID over seeds (std / mean):\n")
        print(markdown_table(header, plan((5, 6, 8, 10, 12), (1, 2, 3), PLANNED_SPREADS)))
        return
    if args.seeds < FEWEST_SEEDS:
        raise UserError(f"--seeds is {args.seeds} and must be at least {FEWEST_SEEDS}; `dcgan baseline --plan` helps")
    first = load_params().train.seed + 1  # train.seed itself is left to the candidate
    _check_repository(args.output)
    revision = resolve("HEAD")
    runs = [_measured(seed, args.set_param, revision) for seed in range(first, first + args.seeds)]
    baseline = build_baseline(runs, revision, args.set_param, library_versions())
    baseline = baseline.model_copy(update={"power": powers_of(reference_of(baseline, args.output))})
    write_json(args.output, baseline.model_dump())
    print(baseline_text(baseline))


def _check_repository(output: str) -> None:
    """A baseline belongs to a commit: what was measured must be what it holds."""
    status = git("status", "--porcelain", "--", ".", f":(exclude){output}")
    if status.returncode:
        raise UserError(f"a baseline is measured in a Git repository: {' '.join(status.stderr.split())}")
    if status.stdout:
        changed = ", ".join(line[3:] for line in status.stdout.splitlines()[:5])
        raise UserError(f"uncommitted changes ({changed}): a baseline belongs to a commit; commit them first")


def _measured(seed: int, settings: list[str], revision: str) -> Run:
    """The run of a seed at this revision: the experiment of an earlier attempt, or a new one.

    It runs in a folder of its own (--temp), so that the workspace stays as it is.
    """
    name = _experiment_name(seed, settings, revision)
    if name not in experiments():
        print(f"seed {seed}: running experiment {name}", file=sys.stderr, flush=True)
        changes = [f"train.seed={seed}", *settings]
        _dvc("exp", "run", "--temp", "--name", name, *(part for change in changes for part in ("-S", change)))
    found = experiments().get(name)
    if found is None:
        raise UserError(f"seed {seed}: DVC made no experiment {name}; see its output above, then run this again")
    run = read_run_at(name, found)
    if run.seed != seed:
        raise UserError(
            f"experiment {name} was trained with seed {run.seed} and not {seed}; remove it: dvc exp remove {name}"
        )
    return run


def _experiment_name(seed: int, settings: list[str], revision: str) -> str:
    """One name for the same work, so that a second call finds what the first one finished."""
    key = hashlib.sha256("\n".join([revision, *sorted(settings)]).encode()).hexdigest()[:8]
    return f"baseline-{key}-seed-{seed}"


def _identity() -> dict[str, str]:
    """DVC commits experiments, sometimes by way of a stash, and that fails when Git does not know by whom."""
    if all(git("config", key).returncode == 0 for key in ("user.name", "user.email")):
        return {}
    keys = [f"GIT_{role}_{part}" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")]
    return dict.fromkeys(keys, "dcgan-baseline")


def _dvc(*arguments: str) -> None:
    # stages call `python`: make it this one, also when its environment is not activated
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    environment = {**_identity(), **os.environ, "PATH": path}
    process = subprocess.Popen([sys.executable, "-m", "dvc", *arguments], stdout=sys.stderr, env=environment)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()  # DVC has the same signal and stops its stage in order
        raise UserError("interrupted; the same command goes on where it stopped") from None
    if code:
        raise UserError(
            f"`dvc {' '.join(arguments)}` ended with status {code}, see its output above; "
            "the same command goes on after the seeds that are done"
        )
