"""A small workspace, a small run log, and what a store has of it. Importable by processes that tests start."""

import hashlib
import json
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

from mlflow.entities import Run
from PIL import Image

from dcgan.support.files import sha256
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking import mlflow_store
from dcgan.tracking.mlflow_store import Store
from dcgan.tracking.restored import log_restored
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sent import Sent, write_sent

PARAMS = {
    "model": {"conditional": True},
    "train": {"seed": 1, "learning_rate": 0.001},
    "sample": {"seed": 1000, "count": 10},
    "evaluate": {"seed": 2000},
}
STEPS = 200
SERIES = ("train/loss_g", "train/loss_d", "train/acc_real")
IMAGE_STEPS = (50, 75, 100)


# ---- a workspace ----


def write_workspace(folder: Path, model: bytes = b"weights", fid: float = 1.5) -> Path:
    """The files that the stages leave and their dvc.lock, small."""
    outputs = {
        "models/generator.safetensors": model,
        "models/discriminator.safetensors": b"critic",
        "metrics/train.json": b"{}",
        "metrics/curves.csv": b"step,images,loss_g,x\n1,64,0.5,1\n2,128,nan,0.25\n",
        "metrics/evaluate.json": json.dumps(
            {"fid": fid, "kid_x1000": 2, "recall": 0.5, "protocol": {"version": 2}}
        ).encode(),
        "samples/images-idx3-ubyte": b"digits",
    }
    for name, content in outputs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for step in IMAGE_STEPS:
        write_image(folder / f"metrics/progress/images-{step:06}.png", step)
    write_image(folder / "samples/grid.png", 255)
    write_lock(folder)
    return folder


def write_lock(folder: Path) -> None:
    def entries(*names: str) -> list[dict]:
        return [{"path": name, "md5": hashlib.md5((folder / name).read_bytes()).hexdigest()} for name in names]

    def sections(*names: str) -> dict:
        return {"params.yaml": {name: PARAMS[name] for name in names}}

    network, digits, scores = "models/generator.safetensors", "samples/images-idx3-ubyte", "metrics/evaluate.json"
    stages = {
        "train": {"params": sections("model", "train"), "outs": entries(network)},
        "sample": {"params": sections("sample"), "deps": entries(network), "outs": entries(digits)},
        "evaluate": {"params": sections("evaluate"), "deps": entries(digits), "outs": entries(scores)},
    }
    (folder / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))


def write_image(path: Path, gray: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (300, 400), gray).save(path)


# ---- a run log and its run ----


def make_run_log(root: Path, workspace: Path, steps: int = STEPS) -> RunLog:
    run_log = RunLog.create(root, "training")
    for step in range(steps):
        run_log.log_points(dict.fromkeys(SERIES, step / 7), step)
    for image in sorted((workspace / "metrics/progress").glob("*.png")):
        run_log.log_image("progress/percent", image, int(image.stem[-6:]))
    run_log.log_file(workspace / "models/generator.safetensors", "models")
    run_log.log_dataset("MNIST", "ab" * 32, "data/raw", "training")
    run_log.log_params(PARAMS)
    run_log.log_tags({"mlflow.note.content": "A note."})
    return run_log


def find_run(store: Store, run_log: RunLog) -> Run:
    (run,) = store.runs.search(f"tags.`dcgan.run_log` = '{run_log.id}'")
    return run


def history(store: Store, run: Run, key: str) -> list[tuple]:
    points = store.client.get_metric_history(run.info.run_id, key)
    return sorted((point.step, point.value, point.timestamp) for point in points)


def check_complete(store: Store, run_log: RunLog, steps: int = STEPS) -> None:
    """Everything that `make_run_log` logs is in the store, once."""
    run = find_run(store, run_log)
    for key in SERIES:
        assert [point[:2] for point in history(store, run, key)] == [(step, step / 7) for step in range(steps)]
    assert store.images(run.info.run_id) == {("image", "progress/percent", step) for step in IMAGE_STEPS}
    images = store.client.list_artifacts(run.info.run_id, "images")
    assert len(images) == 2 * len(IMAGE_STEPS)  # each with its thumbnail
    models = store.client.list_artifacts(run.info.run_id, "models")
    assert [item.path for item in models] == ["models/generator.safetensors"]
    assert [data.dataset.name for data in run.inputs.dataset_inputs] == ["MNIST"]
    assert run.data.params["train.learning_rate"] == "0.001"


def check_restored_run(store: Store, workspace: Path) -> int:
    """There is one run of the workspace's model, and it has everything once. Returns how many runs there were."""
    runs = store.runs.search(f"tags.`model.sha256` = '{sha256(workspace / PIPELINE.model)}'")
    (run,) = [run for run in runs if run.info.lifecycle_stage == "active"]
    assert run.info.status == "FINISHED"
    for key in ("train/loss_g", "train/x"):
        assert [point[0] for point in history(store, run, key)] == [64, 128], key
    assert [point[:2] for point in history(store, run, "eval/details/fid")] == [(0, 1.5)]
    assert store.images(run.info.run_id) == {("image", "progress/percent", step) for step in IMAGE_STEPS}
    assert len(store.client.list_artifacts(run.info.run_id, "images")) == 2 * len(IMAGE_STEPS)
    assert run.data.params["train.seed"] == "1"
    return len(runs)


# ---- processes ----

# Real processes that start with MLflow imported: importing it takes longer than all they do
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["dcgan.tracking.mlflow_store"])


def _publish_all(root: Path, uri: str, is_connected: bool, ready, go) -> None:
    store = Store(uri) if is_connected else None
    ready.release()
    go.wait()
    store = store or Store(uri)
    for run_log in RunLog.all(root):
        store.publish(run_log)


def start_senders(root: Path, uri: str, count: int, is_connected: bool = False) -> list:
    """Processes that start to send every run log at the same moment; `is_connected`: they connect before it."""
    ready, go = FORKS.Semaphore(0), FORKS.Event()
    senders = [FORKS.Process(target=_publish_all, args=(root, uri, is_connected, ready, go)) for _ in range(count)]
    for sender in senders:
        sender.start()
    for _ in senders:
        assert ready.acquire(timeout=60)
    go.set()
    return senders


def publish_and_die(root: Path, run_log_id: str, uri: str, slices: int) -> None:
    """Send, until the progress of that many slices is saved; then die as by kill -9."""
    saved = []

    def save_and_die(folder: Path, uri: str, sent: Sent) -> None:
        write_sent(folder, uri, sent)
        saved.append(sent)
        if len(saved) == slices:
            os.kill(os.getpid(), signal.SIGKILL)

    mlflow_store.write_sent = save_and_die
    Store(uri).publish(RunLog.open(root, run_log_id))


def publish_and_die_after(root: Path, run_log_id: str, uri: str, call: str) -> None:
    """Send, until that call of the client has returned; then die as by kill -9."""
    store = Store(uri)
    carry_out = getattr(store.client, call)

    def carry_out_and_die(*args, **kwargs):
        carry_out(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(store.client, call, carry_out_and_die)
    store.publish(RunLog.open(root, run_log_id))


def _publish_restored(clone: Path, uri: str, ready, go) -> None:
    store = Store(uri)
    run_log = log_restored(PIPELINE, clone, clone)
    ready.release()
    go.wait()
    store.publish(run_log)


def publish_at_once(clones: list[Path], uri: str) -> None:
    """What DVC restored in several clones is published by a process each, all at the same moment."""
    ready, go = FORKS.Semaphore(0), FORKS.Event()
    publishers = [FORKS.Process(target=_publish_restored, args=(clone, uri, ready, go)) for clone in clones]
    for publisher in publishers:
        publisher.start()
    for _ in publishers:
        assert ready.acquire(timeout=60)
    go.set()
    for publisher in publishers:
        publisher.join(120)
        assert publisher.exitcode == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
