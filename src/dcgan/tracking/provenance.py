"""Where a run came from and what it ran on: what differs between machines and never goes into a result."""

import getpass
import importlib.metadata
import os
import platform
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dcgan.support.files import read_yaml, write_json
from dcgan.tracking.names import ENVIRONMENT_FILE, ENVIRONMENT_TAGS, PACKAGES
from dcgan.tracking.run_log import RunLog

# They decide which kernels run, and with that the last bits of a result
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def log_environment(run_log: RunLog, folder: Path, details: Mapping[str, Any]) -> None:
    """Tags to filter runs by. Everything else about the machine, and `details`, is in a file, written to `folder`."""
    environment = describe_environment() | details
    write_json(folder / ENVIRONMENT_FILE, environment)
    run_log.log_file(folder / ENVIRONMENT_FILE)
    tags = {key: environment[key] for key in ENVIRONMENT_TAGS if key in environment}
    run_log.log_tags(tags | revision_tags(run_log.root))


def describe_environment() -> dict[str, str]:
    """Platform, processor and versions."""
    model, instruction_sets = _processor()
    machine = {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu.model": model,
        "cpu.instruction_sets": instruction_sets,
        "cpu.cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "version.python": platform.python_version(),
    }
    return machine | {f"version.{name}": version for name in PACKAGES if (version := _version(name))}


def revision_tags(root: Path) -> dict[str, str]:
    """Git, DVC and user: which code, which experiment, whose. Call it in the workspace.

    All experiments of a baseline have its commit; `dvc.exp_name` tells them apart.

    Args:
        root: the repository, which is not the workspace in a queued experiment.
    """
    commit = _git("rev-parse", "HEAD")
    tags = {
        "git.commit": commit,
        "mlflow.source.git.commit": commit,
        "git.branch": _branch(root, commit) if commit else "",
        "git.dirty": str(_is_dirty()).lower() if commit else "",
        "dvc.exp_name": os.environ.get("DVC_EXP_NAME", ""),
        "mlflow.user": _user(),
        "mlflow.source.name": "dvc.yaml",
        "mlflow.source.type": "PROJECT",
    }
    return {key: value for key, value in tags.items() if value}


def _branch(root: Path, commit: str) -> str:
    """Empty if HEAD is detached.

    DVC detaches HEAD for an experiment, and gives a queued one a repository without branches. Then it is the branch
    that `root` is on, or was on before DVC detached it; none if that does not hold the commit.
    """
    candidates = [(Path(), "HEAD")]
    if "DVC_EXP_NAME" in os.environ:
        candidates += [(root, "HEAD"), (root, "@{-1}")]
    for folder, revision in candidates:
        branch = _git("rev-parse", "--abbrev-ref", revision, folder=folder)
        if branch not in ("", "HEAD") and commit == _git("merge-base", commit, branch, folder=folder):
            return branch
    return ""


def _is_dirty() -> bool:
    """Whether tracked files differ from the commit, except those that DVC writes: its experiments change parameters,
    which are logged, and stages write their outputs."""
    exclude = [f":(exclude,literal){path}" for path in ("params.yaml", "dvc.lock", *_outputs())]
    return bool(_git("status", "--porcelain", "--untracked-files=no", "--", ":/", *exclude))


def _outputs() -> Iterator[str]:
    """Paths of all outputs of the pipeline in the workspace."""
    pipeline = read_yaml("dvc.yaml") if Path("dvc.yaml").is_file() else {}
    for stage in pipeline.get("stages", {}).values():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, []):  # a path, or a path with settings
                yield from [entry] if isinstance(entry, str) else entry


def _user() -> str:
    """Empty if the user has no name, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # KeyError: Python before 3.13
        return ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)  # without importing it: torch and MLflow take seconds
    except importlib.metadata.PackageNotFoundError:
        return ""


def _git(*arguments: str, folder: Path = Path()) -> str:
    """Git's output; empty if there is no repository or no Git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> tuple[str, str]:
    """The model and the instruction sets that matter, from Linux; elsewhere the architecture's name."""
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    except OSError:
        return platform.processor() or platform.machine(), platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in lines}
    have = (fields.get("flags") or fields.get("Features") or "").split()
    return fields.get("model name") or platform.machine(), " ".join(name for name in INSTRUCTION_SETS if name in have)
