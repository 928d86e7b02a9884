"""Which experiments are finished: those whose Git reference is there. It is stored last."""

import os
import subprocess
import tempfile
from pathlib import Path

from dcgan.cluster.experiment import reference
from dcgan.support.errors import UserError

ENVIRONMENT = {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}  # asked for a password, it would wait unseen


def finished(commit: str, remote: str | None) -> dict[str, str]:
    """Experiments that started from this commit: name -> their commit. In a remote, or in this repository."""
    pattern = reference(commit, "*")
    if remote:
        lines = _git("ls-remote", remote, pattern).splitlines()
    else:
        lines = _git("for-each-ref", "--format=%(objectname) %(refname)", reference(commit, "")).splitlines()
    return {name.rpartition("/")[2]: made for made, name in (line.split() for line in lines)}


def fetch_finished(commit: str, remote: str) -> None:
    """Have the remote's finished experiments here as well: commits alone, without data."""
    _git("fetch", "--quiet", "--no-tags", remote, f"+{reference(commit, '*')}:{reference(commit, '*')}")


def store(bundle: bytes, commit: str, name: str, remote: str | None) -> str:
    """Store an experiment from its bundle, in the remote first; returns its commit."""
    wanted = reference(commit, name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        path.write_bytes(bundle)
        made = _git("ls-remote", str(path), wanted).split()[0]
        _git("fetch", "--quiet", "--no-tags", str(path), wanted)
    if remote:
        _git("push", "--quiet", remote, f"{made}:{wanted}")
    _git("update-ref", wanted, made)
    return made


def remote_of_commit(commit: str) -> str:
    """The remote that other machines clone from: `origin`, which must have the commit.

    Raises:
        UserError: there is no such remote, or it does not have the commit.
    """
    url = _git("remote", "get-url", "origin", otherwise="add one: git remote add origin URL")
    _git("fetch", "--quiet", "origin")
    if not _git("for-each-ref", f"--contains={commit}", "refs/remotes/origin"):
        raise UserError(f"commit {commit[:10]} is not in {url}, where the other machines get it; push it: git push")
    return url


def identity() -> dict[str, str]:
    """The user's Git identity as environment variables, or a made-up one: DVC commits experiments."""
    found = {}
    for key, part in (("user.name", "NAME"), ("user.email", "EMAIL")):
        done = subprocess.run(["git", "config", key], capture_output=True, text=True)
        for role in ("AUTHOR", "COMMITTER"):
            found[f"GIT_{role}_{part}"] = os.environ.get(f"GIT_{role}_{part}") or done.stdout.strip() or "dcgan-sweep"
    return found


def _git(*arguments: str, otherwise: str = "look at its message, then run this again") -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise UserError(f"`git {arguments[0]}` failed ({reason}); {otherwise}")
    return done.stdout.strip()
