"""Where the gate's numbers come from: files, and Git revisions or DVC experiments."""

import json
import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dcgan.gate.baseline import Baseline, Reference, Run, reference_of, reference_of_run, run_of
from dcgan.support.errors import UserError
from dcgan.support.files import read_json

EVALUATE = "metrics/evaluate.json"
TRAIN = "metrics/train.json"
BASELINE = "metrics/baseline.json"
LIBRARIES = ("torch", "torchvision", "torchmetrics", "numpy", "scipy")


def library_versions() -> dict[str, str]:
    """Versions that can move a score a little; reported beside a comparison."""
    return {name: version(name) for name in LIBRARIES}


def read_run(source: str) -> Run:
    """A run from an evaluate.json (train.json beside it), or from a Git revision or DVC experiment.

    Raises:
        UserError: what is named does not exist, or the files are not those of a run.
    """
    if source.endswith(".json") or os.path.exists(source):
        return run_of(source, read_json(source), read_json(Path(source).with_name("train.json")))
    return read_run_at(source, resolve(source))


def read_run_at(name: str, commit: str) -> Run:
    """A run from the metrics files of a commit, which is called `name` in messages."""
    files = {path: read_at(commit, path) for path in (EVALUATE, TRAIN)}
    missing = [path for path, content in files.items() if content is None]
    if missing:
        raise UserError(f"revision {name} ({commit[:12]}) has no {' and no '.join(missing)}; choose one that has")
    return run_of(name, files[EVALUATE], files[TRAIN])


def read_reference(path: str, revision: str | None) -> Reference:
    """What to compare with: the baseline file, here or at a revision.

    A revision without one is represented by its own single run (metrics/evaluate.json); the spread over seeds
    is then that of the baseline file here.

    Raises:
        UserError: nothing to compare with, or it is not valid.
    """
    if revision is None:
        if not os.path.exists(path):
            raise UserError(f"there is no baseline {path}; measure one: `dcgan baseline --seeds N`, or use --rev REV")
        return _baseline(read_json(path), path)
    commit = resolve(revision)
    known = read_at(commit, path)
    if known is not None:
        return _baseline(known, f"{path} of {revision}")
    if read_at(commit, EVALUATE) is None:
        raise UserError(f"revision {revision} ({commit[:12]}) has neither {path} nor {EVALUATE}; choose another")
    return reference_of_run(read_run_at(revision, commit), read_reference(path, None))


def _baseline(content: Any, label: str) -> Reference:
    try:
        baseline = Baseline.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{label} is no baseline: {key}: {first['msg']}; restore it from Git or make it anew: "
            "`dcgan baseline --seeds N`"
        ) from error
    runs = f"{len(baseline.seeds)} seeds, {baseline.revision[:12]}"
    return reference_of(baseline, f"{label} ({runs})")


# ---- Git -------------------------------------------------------------------------------------------------------------


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Git here, in plain English. The caller looks at the exit status."""
    try:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}, check=False
        )
    except FileNotFoundError as error:
        raise UserError("git is not installed; install it, or compare with a file: --baseline FILE") from error


def resolve(revision: str) -> str:
    """The commit of a branch, tag, commit or DVC experiment.

    Raises:
        UserError: not a Git repository, or the revision is unknown here; a shallow clone is named as the likely reason.
    """
    found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode == 0:
        return found.stdout.strip()
    shallow = git("rev-parse", "--is-shallow-repository")
    if shallow.returncode:
        raise UserError(
            f"cannot look up revision {revision}: {os.getcwd()} is not inside a Git repository; run it in one"
        )
    named = [commit for name, commit in experiments().items() if name == revision]
    if named:
        return named[0]
    if shallow.stdout.strip() == "true":
        raise UserError(
            f"revision {revision} is not in this shallow clone; fetch the history (git fetch --unshallow origin; "
            "in GitHub Actions: actions/checkout with fetch-depth: 0)"
        )
    raise UserError(
        f"unknown revision {revision}; git branch --all and dvc exp list show what there is, git fetch gets more"
    )


def experiments() -> dict[str, str]:
    """DVC experiments: name -> commit. One of the current commit hides one of the same name elsewhere.

    DVC keeps them as refs/exps/<2 digits>/<38 digits of the commit they started from>/<name>.
    """
    head = git("rev-parse", "HEAD").stdout.strip()
    listed = git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").stdout.split("\n")
    entries = [line.split() for line in listed if line.count("/") == 4]
    # stable sort: those of the current commit last, so that they win
    entries.sort(key=lambda entry: f"refs/exps/{head[:2]}/{head[2:]}/" in entry[1])
    return {reference.rsplit("/", 1)[1]: commit for commit, reference in entries}


def read_at(commit: str, path: str) -> Any | None:
    """The JSON file `path` (relative to the current folder) of a commit; None if the commit does not have it."""
    shown = git("show", f"{commit}:./{os.path.relpath(path)}")
    if shown.returncode == 0:
        try:
            return json.loads(shown.stdout)
        except ValueError as error:
            raise UserError(f"{path} of {commit[:12]} is not JSON ({error}); choose another revision") from error
    if "does not exist in" in shown.stderr or "exists on disk, but not in" in shown.stderr:
        return None
    raise UserError(f"cannot read {path} of {commit[:12]}: {' '.join(shown.stderr.split())}")
