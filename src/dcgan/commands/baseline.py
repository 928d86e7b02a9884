"""`dcgan baseline`: train with several seeds as DVC experiments and write down how their scores spread."""

import argparse
import hashlib
import os
import subprocess
import sys

from dcgan.commands.numbers import whole_number
from dcgan.gate.baseline import Baseline, build_baseline, reference_from_baseline
from dcgan.gate.power import plan, powers_of
from dcgan.gate.report import Report, Table, baseline_report, target_text
from dcgan.gate.revisions import experiments, git, library_versions, read_run_at, resolve
from dcgan.gate.runs import Run
from dcgan.gate_settings import GATE
from dcgan.params import load_params
from dcgan.paths import user_path
from dcgan.support.errors import UserError
from dcgan.support.files import write_json

PLANNED_SPREADS = (0.04, 0.05, 0.06, 0.07, 0.08, 0.10)
PLANNED_BASELINES = (5, 6, 8, 10, 12)
PLANNED_CANDIDATES = (1, 2, 3)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--seeds", type=whole_number, metavar="N", help="train with the N seeds after train.seed")
    action.add_argument("--plan", action="store_true", help="only print the detection power by number of seeds")
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="as for `dvc exp run`: another setting for these runs",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=user_path,
        default=GATE.baseline_file,
        metavar="FILE",
        help=f"default: {GATE.baseline_file}",
    )


def run(args: argparse.Namespace) -> None:
    if args.plan:
        _print(_plan_report())
        return
    if args.seeds < GATE.min_seeds:
        raise UserError(
            f"--seeds is {args.seeds}, but must be at least {GATE.min_seeds}; `dcgan baseline --plan` helps to choose"
        )
    _check_repository(str(args.output))
    baseline = _measure(args.seeds, args.set_param, str(args.output))
    write_json(args.output, baseline.model_dump())
    _print(baseline_report(GATE, baseline))


def _print(report: Report) -> None:
    print(report.text() if sys.stdout and sys.stdout.isatty() else report.markdown())


def _plan_report() -> Report:
    header = ["baseline seeds", "candidate seeds", *(f"{100 * spread:.0f} %" for spread in PLANNED_SPREADS)]
    rows = [
        [str(n), str(m), *(f"{100 * power:.0f} %" for power in powers)]
        for n, m, powers in plan(GATE, PLANNED_BASELINES, PLANNED_CANDIDATES, PLANNED_SPREADS)
    ]
    explanation = (
        f"By the spread of {GATE.target.score} over seeds (std / mean). "
        f"False-alarm rate: at most {100 * GATE.false_alarm_rate:.2g} %, with any number of seeds."
    )
    return Report(f"Detection power for {target_text(GATE)}", [explanation, Table(header, rows)])


def _measure(count: int, changes: list[str], label: str) -> Baseline:
    first = load_params().train.seed + 1  # train.seed itself remains for the candidate
    revision = resolve("HEAD")
    runs = [_run_of_seed(seed, changes, revision) for seed in range(first, first + count)]
    baseline = build_baseline(GATE, runs, revision, changes, library_versions(GATE))
    power = powers_of(GATE, reference_from_baseline(GATE, baseline, label))
    return baseline.model_copy(update={"power": power})


def _check_repository(output: str) -> None:
    """Refuse uncommitted changes: the commit that a baseline names must be what was measured."""
    status = git("status", "--porcelain", "--", ".", f":(exclude){output}")
    if status.returncode:
        raise UserError(f"cannot measure a baseline outside a Git repository: {' '.join(status.stderr.split())}")
    if status.stdout:
        changed = ", ".join(line[3:] for line in status.stdout.splitlines()[:5])
        raise UserError(f"uncommitted changes ({changed}): a baseline belongs to a commit; commit them first")


def _run_of_seed(seed: int, changes: list[str], revision: str) -> Run:
    """The run of a seed at this revision: the experiment of an earlier attempt, or a new one.

    A new one runs in a temporary folder (--temp), so the workspace is not touched.
    """
    name = _experiment_name(seed, changes, revision)
    if name not in experiments():
        print(f"seed {seed}: running experiment {name}", file=sys.stderr, flush=True)
        options = [option for change in (f"train.seed={seed}", *changes) for option in ("-S", change)]
        _dvc("exp", "run", "--temp", "--name", name, *options)
    commit = experiments().get(name)
    if commit is None:
        raise UserError(f"seed {seed}: DVC made no experiment {name}; see its output above, then run this again")
    run = read_run_at(GATE, name, commit)
    if run.seed != seed:
        raise UserError(
            f"experiment {name} was trained with seed {run.seed}, not {seed}; remove it: dvc exp remove {name}"
        )
    return run


def _experiment_name(seed: int, changes: list[str], revision: str) -> str:
    """The same name for the same work, so that a second call finds what the first one finished."""
    key = hashlib.sha256("\n".join([revision, *sorted(changes)]).encode()).hexdigest()[:8]
    return f"baseline-{key}-seed-{seed}"


def _identity() -> dict[str, str]:
    """A Git identity where the user has none: DVC commits experiments, which fails without one."""
    if all(git("config", key).returncode == 0 for key in ("user.name", "user.email")):
        return {}
    keys = [f"GIT_{role}_{part}" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")]
    return dict.fromkeys(keys, "dcgan-baseline")


def _dvc(*arguments: str) -> None:
    # stages call `python`: put this one first on PATH, even if its virtual environment is not activated
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    environment = {**_identity(), **os.environ, "PATH": path}
    process = subprocess.Popen([sys.executable, "-m", "dvc", *arguments], stdout=sys.stderr, env=environment)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()  # DVC gets the same signal and stops its stage cleanly
        raise UserError("interrupted; run the same command again to continue with the unfinished seeds") from None
    if code:
        raise UserError(
            f"`dvc {' '.join(arguments)}` ended with status {code}, see its output above; "
            "run the same command again to continue with the unfinished seeds"
        )
