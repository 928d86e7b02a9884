"""Where a run came from and what it ran on, as tags: what differs between machines and never goes into a result."""

import importlib.metadata
import os
import platform
import socket
import subprocess
from pathlib import Path

from dcgan.tracking.names import PACKAGES

# They decide which kernels run, and with that the last bits of a result
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def environment_tags() -> dict[str, str]:
    """Versions, platform, processor, Git and DVC. The train stage adds device, precision and workers."""
    model, instruction_sets = _processor()
    machine = {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu.model": model,
        "cpu.instruction_sets": instruction_sets,
        "cpu.cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "version.python": platform.python_version(),
    }
    versions = {f"version.{name}": version for name in PACKAGES if (version := _version(name))}
    return machine | versions | revision_tags()


def revision_tags() -> dict[str, str]:
    """Git and DVC: which code, which experiment.

    MLflow's own commit tag is that of the baseline for every queued experiment, so `dvc.exp_name` tells them apart;
    `git.dirty`: tracked files differ from the commit.
    """
    commit = _git("rev-parse", "HEAD")
    tags = {
        "git.commit": commit,
        "mlflow.source.git.commit": commit,
        "git.branch": _git("rev-parse", "--abbrev-ref", "HEAD"),
        "git.dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower() if commit else "",
        "dvc.exp_name": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.baseline_rev": os.environ.get("DVC_EXP_BASELINE_REV", ""),
        "mlflow.source.name": "dvc.yaml",
        "mlflow.source.type": "PROJECT",
    }
    return {key: value for key, value in tags.items() if value}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)  # without importing it: torch and MLflow take seconds
    except importlib.metadata.PackageNotFoundError:
        return ""


def _git(*arguments: str) -> str:
    """Git's output; empty if there is no repository or no Git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
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
