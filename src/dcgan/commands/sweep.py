"""`dcgan sweep`: a run for every combination of some settings, as DVC experiments, many at once."""

import argparse
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dcgan.cluster.driver import run_all
from dcgan.cluster.engine import Engine
from dcgan.cluster.experiment import DVC, Origin
from dcgan.cluster.grid import Experiment, experiments
from dcgan.cluster.local import LocalSlots, local_slots
from dcgan.cluster.references import fetch_finished, finished, identity, remote_of_commit, store
from dcgan.cluster.table import Table, duration
from dcgan.gate.revisions import git, read_at, resolve
from dcgan.params import load_params
from dcgan.paths import HEADLINE_SCORES, local_state, root_folder
from dcgan.support.errors import UserError, print_to_stderr
from dcgan.support.lock import hold
from dcgan.support.stop_signals import stop_requests
from dcgan.tracking.locations import store_uri
from dcgan.tracking.names import NEVER, SEND_EVERY_VARIABLE, SWEEP_VARIABLE
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sender import publishing
from dcgan.tracking.sent import begin
from dcgan.tracking.session import ending
from dcgan.tracking.sweeps import core_seconds_per_image, end_abandoned, start_or_resume_sweep

SCORE = "relative_fid"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        required=True,
        metavar="NAME=VALUES",
        help="a setting and its values: train.seed=1..12, model.generator_width=16,32; every combination is a run",
    )
    add_address_option(parser)
    parser.add_argument("--plan", action="store_true", help="only print what would run, and what is done already")
    parser.epilog = (
        "Each run is a DVC experiment of the current commit. The same command continues with the unfinished ones."
    )


def add_address_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on",
        metavar="ADDRESS",
        help="of a Ray cluster, such as 10.0.0.1:6379 or auto; without it, the cores of this machine (docs/cluster.md)",
    )


def run(args: argparse.Namespace) -> None:
    check_committed()
    sweep = Sweep.of("sweep", args.set_param, args.on)
    if args.plan:
        print(sweep.plan())
        return
    for experiment, commit in sweep.run().items():
        print(f"{experiment.name}  {experiment.label}  {score_at(commit)}")


def check_committed(*exclude: str) -> None:
    """Refuse uncommitted changes: what runs is the commit.

    Raises:
        UserError: there are some, or this is not a Git repository.
    """
    status = git("status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in exclude))
    if status.returncode:
        raise UserError(f"cannot run outside a Git repository: {' '.join(status.stderr.split())}")
    if status.stdout:
        changed = ", ".join(line[3:] for line in status.stdout.splitlines()[:5])
        raise UserError(f"uncommitted changes ({changed}): these runs belong to a commit; commit them first")


@dataclass(frozen=True)
class Sweep:
    kind: str
    options: Sequence[str]
    commit: str
    experiments: list[Experiment]
    address: str | None  # of a Ray cluster; None: this machine
    remote: str | None  # Git URL that a cluster's nodes clone; None: this repository

    @classmethod
    def of(cls, kind: str, options: Sequence[str], address: str | None) -> "Sweep":
        """Check everything that can be checked before anything runs."""
        commit = resolve("HEAD")
        found = experiments(kind, options, commit)
        for experiment in found:
            load_params(settings=experiment.settings)
        remote = remote_of_commit(commit) if address else None
        return cls(kind, options, commit, found, address, remote)

    def finished(self) -> dict[Experiment, str]:
        """Their commits, in the order of the experiments."""
        if self.remote:
            fetch_finished(self.commit, self.remote)
        made = finished(self.commit, self.remote)
        return {experiment: made[experiment.name] for experiment in self.experiments if experiment.name in made}

    def plan(self) -> str:
        done = self.finished()
        lines = [f"{e.name}  {e.label}  {'done' if e in done else 'to run'}" for e in self.experiments]
        return "\n".join([*lines, self._estimate([e for e in self.experiments if e not in done])])

    def run(self) -> dict[Experiment, str]:
        """Run what is not finished; returns the commits of all experiments.

        Raises:
            UserError: some runs failed.
            Interrupted: a stop was requested.
        """
        root = root_folder()
        with stop_requests() as stop, hold(local_state(root) / "sweep.lock", f"dcgan {self.kind}"):
            table = Table(self.experiments, SCORE)
            done = self.finished()
            for experiment, commit in done.items():
                table.mark_done(experiment, score_at(commit))
            missing = [experiment for experiment in self.experiments if experiment not in done]
            if missing:
                print_to_stderr(self._estimate(missing))
                run_log = start_or_resume_sweep(root, self.kind, self.commit, self.options)
                with publishing(root), ending(run_log), self._engine(root, run_log) as engine:
                    run_all(missing, engine, self._store, table, stop)
                    end_abandoned(root, run_log.id, (experiment.name for experiment in missing))
        return self.finished()

    def _engine(self, root: Path, run_log: RunLog) -> Engine:
        variables = {
            SWEEP_VARIABLE: run_log.id,
            SEND_EVERY_VARIABLE: NEVER,  # this process sends
            **identity(),
        }
        if self.address is None:
            variables["MLFLOW_TRACKING_URI"] = store_uri(root)
            origin = Origin(str(Path.cwd()), self.commit, cache_folder())
            return LocalSlots(origin, local_state(root) / "sweep", local_state(root), variables)
        from dcgan.cluster.on_ray import RayCluster

        uri = store_uri(root)
        origin = Origin(self.remote, self.commit, None)
        return RayCluster(self.address, origin, local_state(root), variables, lambda run_log: begin(run_log, uri))

    def _store(self, experiment: Experiment, bundle: bytes) -> str:
        return score_at(store(bundle, self.commit, experiment.name, self.remote))

    def _estimate(self, missing: list[Experiment]) -> str:
        slots = self._slots()
        text = f"{len(missing)} run(s) to make, {min(slots, len(missing))} at once"
        if not slots:
            return f"{len(missing)} run(s) to make, as soon as the cluster has a node"
        per_image = core_seconds_per_image(root_folder())
        if not (missing and per_image):
            return text
        seconds = per_image * sum(load_params(settings=e.settings).train.images for e in missing)
        return f"{text}: roughly {duration(seconds / min(slots, len(missing)))}, {seconds / 3600:.2g} core-hours"

    def _slots(self) -> int:
        if self.address is None:
            return local_slots()
        from dcgan.cluster.on_ray import cluster_slots

        return cluster_slots(self.address)


def score_at(commit: str) -> str:
    """The score of an experiment for the table; empty if its pipeline has none."""
    scores = read_at(commit, HEADLINE_SCORES)
    return f"{scores[SCORE]:.3f}" if isinstance(scores, dict) and SCORE in scores else ""


def cache_folder() -> str:
    """DVC's cache of this repository."""
    done = subprocess.run([*DVC, "cache", "dir"], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"`dvc cache dir` failed ({' '.join(done.stderr.split())}); run this in a DVC repository")
    return str(Path(done.stdout.strip()).resolve())
