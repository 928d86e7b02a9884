"""`dcgan baseline`: train with several seeds as DVC experiments and write down how their scores spread."""

import argparse
import sys

from dcgan.commands.numbers import whole_number
from dcgan.commands.sweep import Sweep, add_address_option, check_committed
from dcgan.gate.baseline import Baseline, build_baseline, reference_from_baseline
from dcgan.gate.power import plan, powers_of
from dcgan.gate.report import Report, Table, baseline_report, target_text
from dcgan.gate.revisions import library_versions, read_run_at
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
    add_address_option(parser)


def run(args: argparse.Namespace) -> None:
    if args.plan:
        _print(_plan_report())
        return
    if args.seeds < GATE.min_seeds:
        raise UserError(
            f"--seeds is {args.seeds}, but must be at least {GATE.min_seeds}; `dcgan baseline --plan` helps to choose"
        )
    check_committed(str(args.output))
    baseline = _measure(args)
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


def _measure(args: argparse.Namespace) -> Baseline:
    first = load_params().train.seed + 1  # train.seed itself remains for the candidate
    changes = args.set_param
    sweep = Sweep.of("baseline", [f"train.seed={first}..{first + args.seeds - 1}", *changes], args.on)
    if len(sweep.experiments) != args.seeds:
        raise UserError(
            f"-S {' '.join(changes)}: a baseline has one value for each setting; `dcgan sweep` tries several"
        )
    runs = [read_run_at(GATE, experiment.name, commit) for experiment, commit in sweep.run().items()]
    baseline = build_baseline(GATE, runs, sweep.commit, changes, library_versions(GATE))
    power = powers_of(GATE, reference_from_baseline(GATE, baseline, str(args.output)))
    return baseline.model_copy(update={"power": power})
