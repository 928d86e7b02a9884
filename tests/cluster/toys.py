"""A repository with a pipeline of one quick stage, and `dcgan` commands run in it."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from clones import ROOT, environment, run

STAGE = """
import json, os, pathlib, sys, time, yaml
train = yaml.safe_load(pathlib.Path("params.yaml").read_text())["train"]
with open(os.environ["TOY_LOG"], "a") as log:
    log.write(f"{train['seed']} start {time.time()}\\n")
while os.path.exists(os.environ["TOY_LOG"] + f".hold-{train['seed']}"):
    time.sleep(0.05)
if os.path.exists(os.environ["TOY_LOG"] + f".break-{train['seed']}"):
    sys.exit("error: broken")
with open(os.environ["TOY_LOG"], "a") as log:
    log.write(f"{train['seed']} end {time.time()}\\n")
metrics = pathlib.Path("metrics")
metrics.mkdir(exist_ok=True)
(metrics / "scores.json").write_text(json.dumps({"relative_fid": 2 + train["seed"] / 10}))
pathlib.Path("model").write_bytes(f"{train['seed']} {train['images']}".encode() * 1000)
"""
# Trains as the real stage does, as far as tracking and checkpoints go: the value of a step depends on all before it
TRAINER = """
import hashlib, json, os, pathlib, time, yaml
from dcgan.support.files import write_atomic
from dcgan.tracking.session import ending, start_or_resume
train = yaml.safe_load(pathlib.Path("params.yaml").read_text())["train"]
root = pathlib.Path(os.environ["DVC_ROOT"])
folder = root / ".dcgan" / "runs" / f"toy-{train['seed']}"
run_log = start_or_resume(root, folder / "run_log", "toy")
run_log.log_tags({"dvc.exp_name": os.environ["DVC_EXP_NAME"]})
step, value = 0, ""
for checkpoint in sorted(folder.glob("checkpoint-*"))[-1:]:
    step, value = json.loads(checkpoint.read_text())
with open(os.environ["TOY_LOG"], "a") as log:
    log.write(f"{train['seed']} start {step}\\n")
with ending(run_log):
    while step < train["images"]:
        value = hashlib.sha256(f"{value} {train['seed']}".encode()).hexdigest()
        step += 1
        run_log.log_points({"train/loss_g": int(value[:8], 16) / 2**32}, step)
        if step % 5 == 0:
            run_log.sync()
            write_atomic(folder / f"checkpoint-{step:09d}", json.dumps([step, value]).encode())
        time.sleep(0.2)
    run_log.log_points({"eval/relative_fid": step / 10}, 0)
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("metrics/scores.json").write_text(json.dumps({"relative_fid": step / 10}))
pathlib.Path("model").write_text(value)
"""
PIPELINE = """
stages:
  download:
    cmd: echo data > data
    outs: [data]
  toy:
    cmd: python toy.py
    deps: [toy.py, data]
    params: [train]
    outs: [model]
    metrics:
      - metrics/scores.json: {cache: false}
"""


def trained(seed: int, steps: int) -> tuple[str, list[float]]:
    """The model that TRAINER makes, and its points."""
    value, points = "", []
    for _ in range(steps):
        value = hashlib.sha256(f"{value} {seed}".encode()).hexdigest()
        points.append(int(value[:8], 16) / 2**32)
    return value, points


def make_toy(folder: Path, stage: str = STAGE) -> Path:
    folder.mkdir()
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, sys.executable, "-m", "dvc", "init", "-q")
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "toy.py").write_text(stage)
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / ".gitignore").write_text("/.dcgan\n/mlflow.db*\n/mlartifacts\n/model\n/data\n")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "toy")
    return folder


def start(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen:
    """`dcgan` with these arguments, in the background."""
    command = [sys.executable, "-m", "dcgan.cli", *arguments]
    source = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    everything = environment() | {"PYTHONPATH": source, "TOY_LOG": f"{folder}.log"} | variables
    return subprocess.Popen(command, cwd=folder, env=everything, stdout=-1, stderr=-1, text=True)


def dcgan(folder: Path, *arguments: str, limit: float = 300, **variables: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr. `limit`: seconds."""
    process = start(folder, *arguments, **variables)
    out, err = process.communicate(timeout=limit)
    return process.returncode, out, err


def log(folder: Path) -> list[list[str]]:
    """(seed, start or end, time) of what the stages have done."""
    path = Path(f"{folder}.log")
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def experiments(folder: Path) -> dict[str, str]:
    """Names of the DVC experiments in a repository, and their commits."""
    listed = run(folder, "git", "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps").stdout.splitlines()
    return {name.rpartition("/")[2]: commit for name, commit in (line.split() for line in listed) if "exec" not in name}


def add_remotes(folder: Path) -> Path:
    """A bare Git repository and a DVC remote beside the folder; returns the bare repository."""
    bare, data = folder.with_suffix(".git"), folder.with_suffix(".data")
    run(folder, "git", "init", "-q", "--bare", str(bare))
    run(folder, "git", "remote", "add", "origin", str(bare))
    run(folder, sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "shared", str(data))
    run(folder, "git", "commit", "-qam", "a remote for data")
    run(folder, "git", "push", "-q", "origin", "HEAD:main")
    return bare
