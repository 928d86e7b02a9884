"""Clones of this checkout with small networks and a small image budget, and commands run in them."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SMALL = {
    "model": {"generator_width": 4, "discriminator_width": 4, "latent_size": 8},
    "train": {"images": 1280, "snapshots": 3, "precision": "fp32"},
    "sample": {"count": 400},
    "evaluate": {"images": 100},
}


def environment() -> dict[str, str]:
    """This process's environment with a Git identity, and without variables that point to a repository or a store."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("DVC", "MLFLOW", "DCGAN", "GIT_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    identity = {f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return clean | identity | {"PATH": path, "DVC_NO_ANALYTICS": "1"}


def run(folder: Path, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess:
    done = subprocess.run(command, cwd=folder, env=environment() | variables, capture_output=True, text=True)
    if check and done.returncode:
        raise AssertionError(f"{command} exited with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def change_params(folder: Path, change: dict) -> None:
    path = folder / "params.yaml"
    values = yaml.safe_load(path.read_text())
    for section, entries in change.items():
        values[section] |= entries
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def make_clone(folder: Path, mnist: Path) -> Path:
    """A new repository with this checkout's files, including uncommitted edits, and small parameters."""
    listed = run(ROOT, "git", "ls-files", "-co", "--exclude-standard", "-z").stdout.split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file() and not name.startswith(("docs/", "dvc.lock", "metrics/", "samples/")):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
            target.chmod((ROOT / name).stat().st_mode)
    change_params(folder, SMALL | {"download": {"mirror": str(mnist)}})
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "start")
    return folder


def results(folder: Path) -> dict[str, bytes]:
    """The contents of all pipeline outputs, by path."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    outs = [out["path"] for stage in lock.values() for out in stage["outs"]]
    files = [
        path for out in outs for path in ([folder / out] if (folder / out).is_file() else (folder / out).rglob("*"))
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}
