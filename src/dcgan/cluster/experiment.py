"""One DVC experiment in a clone of its own.

The clone is a full one: DVC's experiments race in a shared one, and fail in a shallow one. The experiment's data are
stored first, then its commit leaves the clone as a Git bundle. Whoever receives the bundle stores the commit: so there
is one writer, and an experiment whose commit is there is complete.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dcgan.cluster.command import Command
from dcgan.cluster.grid import Experiment
from dcgan.support.errors import UserError

STAGE = re.compile(r"Running stage '(?P<stage>[^']+)'")
PROGRESS = re.compile(r"(?P<percent>\d+) %\), (?P<rate>[\d,]+)/s")
OWN_ERROR = re.compile(r"^error: (.+)", re.MULTILINE)  # of a stage; says more than DVC's and Git's
ERROR = re.compile(r"^(?:ERROR|fatal): (.+)", re.MULTILINE)
TAIL_BYTES = 20_000  # of a log


class ExperimentFailed(UserError):
    """A command ended with an error. It would do so again: another machine does not help."""


@dataclass(frozen=True)
class Origin:
    """Where a clone and its data come from."""

    url: str  # of the Git repository
    commit: str
    cache: str | None  # folder of DVC's cache on this machine; None: data come from, and go to, the default remote


@dataclass(frozen=True)
class Place:
    """Folders of one attempt."""

    folder: Path  # for the clone and the bundle; new
    state: Path  # local state of the clone: run logs, checkpoints. Outlives the clone
    log: Path  # what the commands print


def reference(commit: str, name: str) -> str:
    """The Git reference of a DVC experiment that started from `commit`."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def bundle_file(place: Place) -> Path:
    return place.folder / "bundle"


class Making:
    """An experiment being made. It waits for nothing: call `step` a few times a second until it returns False."""

    def __init__(self, experiment: Experiment, origin: Origin, place: Place, variables: Mapping[str, str]) -> None:
        self.phase = "clone"
        self._experiment, self._origin, self._place = experiment, origin, place
        self._variables = {**_python_first(), **variables}
        self._command: Command | None = None
        self._steps = self._make()

    def step(self) -> bool:
        """Go on with it; returns False once the bundle is there.

        Raises:
            ExperimentFailed: a command failed; the message has its reason.
        """
        return next(self._steps, None) is not None

    def request_stop(self) -> None:
        if self._command:
            self._command.request_stop()

    def wait_for_stop(self) -> None:
        if self._command:
            self._command.wait_for_stop()

    def progress(self) -> str:
        """What is being done, in a few words: the phase, or the stage with its progress."""
        if self.phase != "run":
            return self.phase
        text = tail(self._place.log)
        stages = list(STAGE.finditer(text))
        if not stages:
            return self.phase
        lines = list(PROGRESS.finditer(text, stages[-1].end()))
        last = f" {lines[-1]['percent']} %, {lines[-1]['rate']}/s" if lines else ""
        return f"{stages[-1]['stage']}{last}"

    def _make(self) -> Iterator[str]:
        origin, clone = self._origin, self._place.folder / "clone"
        self._place.folder.mkdir(parents=True)
        yield from self._run(self._place.folder, "git", "clone", "--quiet", "--no-checkout", origin.url, str(clone))
        yield from self._run(clone, "git", "checkout", "--quiet", "--detach", origin.commit)
        self._link_state(clone)
        if origin.cache:
            (clone / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {origin.cache}\n")
        else:
            self.phase = "pull"
            yield from self._run(clone, *DVC, "pull", "--allow-missing", "download")
        self.phase = "run"
        settings = [option for setting in self._experiment.settings for option in ("-S", setting)]
        yield from self._run(clone, *DVC, "exp", "run", "--name", self._experiment.name, *settings)
        if not origin.cache:
            self.phase = "push"
            yield from self._run(clone, *DVC, "push")
        self.phase = "send"
        made = reference(origin.commit, self._experiment.name)
        bundle = str(bundle_file(self._place))
        yield from self._run(clone, "git", "bundle", "create", "--quiet", bundle, made, f"^{origin.commit}")

    def _link_state(self, clone: Path) -> None:
        self._place.state.mkdir(parents=True, exist_ok=True)
        (clone / self._place.state.name).symlink_to(self._place.state.resolve())
        with open(clone / ".git" / "info" / "exclude", "a") as stream:
            stream.write(f"/{self._place.state.name}\n")  # .gitignore names the folder, and this is a link

    def _run(self, folder: Path, *command: str) -> Iterator[str]:
        self._command = Command(command, folder, self._variables, self._place.log)
        while (code := self._command.poll()) is None:
            yield self.phase
        if code:
            text = tail(self._place.log)
            found = OWN_ERROR.findall(text) or ERROR.findall(text)
            reason = f": {found[-1].strip()}" if found else ""
            shown = " ".join(part for part in command if part not in DVC[:2])
            raise ExperimentFailed(f"`{shown}` ended with status {code}{reason}")


DVC = (sys.executable, "-m", "dvc")


def tail(log: Path) -> str:
    try:
        with open(log, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL_BYTES))
            return stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _python_first() -> dict[str, str]:
    """Stages call `python`: this one must come first on PATH, even if its virtual environment is not activated."""
    return {"PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])}
