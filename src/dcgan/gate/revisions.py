"""Where the gate's numbers come from: files, Git revisions and DVC experiments."""

import json
import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dcgan.gate.baseline import Reference, parse_baseline, reference_from_run
from dcgan.gate.runs import Run, parse_run
from dcgan.gate.settings import GateSettings
from dcgan.support.errors import UserError
from dcgan.support.files import read_json


def library_versions(settings: GateSettings) -> dict[str, str]:
    """Versions of the libraries whose changes can move a score a little; reported beside a comparison."""
    return {name: version(name) for name in settings.libraries}


def read_run(settings: GateSettings, source: str) -> Run:
    """A run from its scores file, or from that of a Git revision or DVC experiment.

    Raises:
        UserError: what is named does not exist, or the file is not that of a run.
    """
    if source.endswith(".json") or os.path.exists(source):
        return parse_run(settings, source, read_json(source))
    return read_run_at(settings, source, resolve(source))


def read_run_at(settings: GateSettings, name: str, commit: str) -> Run:
    """A run from the scores file of a commit, which is called `name` in messages."""
    content = read_at(commit, settings.scores_file)
    if content is None:
        raise UserError(
            f"revision {name} ({commit[:12]}) has no {settings.scores_file}; choose a revision that has one"
        )
    return parse_run(settings, name, content)


def read_reference(settings: GateSettings, path: str, revision: str | None) -> Reference:
    """What to compare with: the baseline file, here or at a revision.

    A revision without a baseline is represented by its own single run, with the spread over seeds of the baseline file
    here.

    Raises:
        UserError: nothing to compare with, or it cannot be read.
        NotComparable: it is not valid, or of another version.
    """
    if revision is None:
        if not os.path.exists(path):
            raise UserError(
                f"there is no baseline {path}; measure one: `{settings.baseline_command}`, or use --rev REV"
            )
        return parse_baseline(settings, read_json(path), path)
    commit = resolve(revision)
    content = read_at(commit, path)
    if content is not None:
        return parse_baseline(settings, content, f"{path} of {revision}")
    if read_at(commit, settings.scores_file) is None:
        raise UserError(
            f"revision {revision} ({commit[:12]}) has neither {path} nor {settings.scores_file}; choose another"
        )
    return reference_from_run(settings, read_run_at(settings, revision, commit), read_reference(settings, path, None))


# ---- Git -------------------------------------------------------------------------------------------------------------


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Git in the current folder, with untranslated messages. The caller checks the exit status.

    Names and files in Git can be any bytes: those that are not UTF-8 become surrogates, as in `sys.argv`.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(
            ["git", *arguments], capture_output=True, encoding="utf-8", errors="surrogateescape", env=environment
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
        f"unknown revision {revision}; `git branch --all` and `dvc exp list` show what there is, `git fetch` gets more"
    )


def experiments() -> dict[str, str]:
    """DVC experiments: name -> commit. Of two with the same name, the one started from the current commit counts.

    DVC keeps them as refs/exps/<2 digits>/<38 digits of the commit they started from>/<name>.
    """
    head = git("rev-parse", "HEAD").stdout.strip()
    listed = git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").stdout.split("\n")
    entries = [line.split() for line in listed if line.count("/") == 4]
    # stable sort: those of the current commit last, so that they win
    entries.sort(key=lambda entry: f"refs/exps/{head[:2]}/{head[2:]}/" in entry[1])
    return {reference.rsplit("/", 1)[1]: commit for commit, reference in entries}


def read_at(commit: str, path: str | Path) -> Any | None:
    """The JSON file `path` (relative to the current folder) of a commit; None if the commit does not have it."""
    shown = git("show", f"{commit}:./{os.path.relpath(Path(path))}")
    if shown.returncode == 0:
        try:
            return json.loads(shown.stdout.encode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} of {commit[:12]} is not JSON ({error}); choose another revision") from error
    if "does not exist in" in shown.stderr or "exists on disk, but not in" in shown.stderr:
        return None
    raise UserError(f"cannot read {path} of {commit[:12]}: {' '.join(shown.stderr.split())}")
