"""Stage train: the DCGAN, its networks, series and pictures."""

import os
import shutil
import sys
from pathlib import Path

import torch

from dcgan import device as hardware
from dcgan.environment import environment_tags
from dcgan.errors import exit_on_user_error
from dcgan.files import sha256, write_atomic
from dcgan.interruption import Interrupted, stop_requests
from dcgan.lock import hold
from dcgan.mnist import load_split
from dcgan.outputs import write_networks, write_training_metrics
from dcgan.params import load_params
from dcgan.publisher import publishing
from dcgan.record import Record, new_record_id
from dcgan.store import root_folder
from dcgan.trainer import Trainer
from dcgan.training import fingerprint, run_training
from dcgan.workspace import tell_training

DATA = Path("data/raw")
# A kill -9 of dvc is noticed within seconds, and the trainer it left behind then ends: wait for it that long.
WAIT_FOR_LOCK_S = 15


@exit_on_user_error
def main() -> None:
    params = load_params()
    hardware.keep_freed_memory()
    device = hardware.resolve_device()
    precision = hardware.resolve_precision(params.train.precision, device)
    settings = params.train.model_copy(update={"precision": precision})
    machine = hardware.describe_machine(device)
    work = fingerprint(params.model.model_dump(), settings.model_dump(), machine, _code_and_data())
    folder = root_folder() / ".dcgan" / "runs" / work

    images, labels = load_split(DATA, "train")
    with hold(folder / "lock", "training", wait=WAIT_FOR_LOCK_S), stop_requests() as stop:
        trainer = Trainer(params.model, settings, torch.from_numpy(images), torch.from_numpy(labels), device)
        record = _record(folder)
        record.log_tags(environment_tags() | machine | {"precision": precision, "workers": trainer.workers})
        with publishing(root_folder()):
            try:
                progress = run_training(trainer, folder, record, stop)
                resolved = {
                    "seed": settings.seed,
                    "conditional": params.model.conditional,
                    "device": device,
                    "precision": precision,
                    "workers": trainer.workers,
                }
                write_networks(trainer, Path("models"))
                write_training_metrics(trainer, progress, resolved, Path("metrics"))
                tell_training(record, Path(), params.model_dump())
            except Interrupted:
                record.finish("KILLED")
                raise
            except BaseException:
                record.finish("FAILED")
                raise
            record.finish("FINISHED")
        _end(folder)


def _record(folder: Path) -> Record:
    """The record of this work: the one that an interrupted run began, else a new one.

    Its id is noted before it exists, so that a kill in between leaves no second one behind.
    """
    note = folder / "record"
    if not note.exists():
        write_atomic(note, new_record_id().encode())
    name = os.environ.get("DVC_EXP_NAME") or f"train-{folder.name[:6]}"
    record = Record.create(root_folder(), name, record_id=note.read_text())
    if record.status != "RUNNING":
        record.resume()
    return record


def _end(folder: Path) -> None:
    """Forget the checkpoints, then the id of the record, and exit at once.

    A kill between the two begins again, into the same record. A kill after both would make a second one, for DVC counts
    the stage as done at its exit only; the interpreter's own farewell takes a second, so it is not waited for.
    """
    for checkpoint in folder.glob("checkpoint-*"):
        checkpoint.unlink()
    shutil.rmtree(folder)
    sys.stdout.flush()
    os._exit(0)


def _code_and_data() -> dict[str, str]:
    """Hashes of the code and the data that shape the weights: a change of either is other work."""
    source = Path(__file__).parents[1] / "src" / "dcgan"
    modules = ("trainer", "networks", "kinds", "losses", "streams", "training", "sampling", "checkpoint", "figures")
    files = [source / f"{name}.py" for name in modules] + sorted(DATA.glob("train-*"))
    return {path.name: sha256(path) for path in files}


if __name__ == "__main__":
    main()
