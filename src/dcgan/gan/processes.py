"""Data-parallel training: several processes, started by torchrun, that each compute some of a batch's shards.

`train.workers` stays the number of shards, and each process has as many of them, one after the other in the order of
the ranks. All processes draw the same batch, gather all shards' gradients, and average them in the order of the shards,
as the threads of one process do. So on a CPU the weights are the same to the bit for any number of processes, and a
training may be resumed with another number. `all_reduce`, and DistributedDataParallel, add in an order of their own;
the latter also does not support `torch.autograd.grad`, which the gradient penalty needs.

Process 0 is the writer: it locks, logs and saves; the others follow (`follow_training`).
"""

import hashlib
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dcgan.support.errors import UserError
from dcgan.support.stop_signals import Interrupted, StopRequest

TIMEOUT = timedelta(minutes=10)  # for a process that is alive but hangs; one that has died is noticed at once
CHECK_EVERY_S = 0.5
WRITER_READY = "dcgan/writer"  # key in torchrun's store
Results = list[tuple[list[Tensor], Tensor]]  # for each shard its gradients, and values such as its losses


class ProcessLost(UserError):
    """Another process of this training has ended."""

    exit_code = 1


class OneProcess:
    """A training in this process alone: there is nobody to exchange anything with."""

    rank, size = 0, 1

    def use(self, device: str, workers: int) -> None:
        """Choose this process's GPU, if the device is "cuda", and check that `workers` shards can be dealt out.

        Raises:
            UserError: they cannot.
        """

    def shaping(self, device: str) -> dict[str, int]:
        """What the result depends on. On a CPU, the number of processes is not among it."""
        return {}

    def connect(self, device: str, stop: StopRequest) -> None:
        """Meet the other processes. They wait for the writer, which may wait for a lock.

        Raises:
            Interrupted: a stop was requested while waiting.
        """

    def own(self, shards: list) -> list:
        """Those of a batch's shards that this process computes."""
        return shards

    def gather(self, results: Results) -> Results:
        """The results of all shards, in their order, from those of each process's own shards."""
        return results

    def join(self, part: Tensor) -> Tensor:
        """One tensor (N, ...) of all processes, in the order of the ranks, from a part (n, ...) of each, of equal n."""
        return part

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process: the same answer in all of them."""
        return flag

    def from_writer(self, value: Any) -> Any:
        """The value that the writer called this with."""
        return value

    def check_equal(self, tensors: list[Tensor], step: int) -> None:
        """Compare hashes of the tensors.

        Raises:
            UserError: a process has other values.
        """


class TorchrunProcesses(OneProcess):
    """The processes that torchrun started, once each has called `connect`."""

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

    def use(self, device: str, workers: int) -> None:
        if device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        elif workers % self.size:
            fitting = ", ".join(str(number) for number in range(1, workers + 1) if workers % number == 0)
            raise UserError(
                f"torchrun started {self.size} processes, but train.workers is {workers}; processes share its shards "
                f"evenly, so --nproc-per-node may be {fitting}"
            )

    def shaping(self, device: str) -> dict[str, int]:
        return {"processes": self.size} if device == "cuda" and self.size > 1 else {}

    def connect(self, device: str, stop: StopRequest) -> None:
        threading.Thread(target=_watch_launcher, args=(os.getppid(), stop), daemon=True).start()
        with _lost():
            self._await_writer(stop)
            dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)

    def _await_writer(self, stop: StopRequest) -> None:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(address, port, is_master=False, timeout=TIMEOUT)
        if self.rank == 0:
            store.set(WRITER_READY, "yes")
        while not store.check([WRITER_READY]):
            if stop.reason:
                raise Interrupted(f"stopped by {stop.reason} while waiting for the first process", stop.exit_code)
            time.sleep(CHECK_EVERY_S)

    def own(self, shards: list) -> list:
        count = len(shards) // self.size
        return shards[self.rank * count : (self.rank + 1) * count]

    def gather(self, results: Results) -> Results:
        """4 bytes for each weight and shard are sent: 1.9 MB a step and shard with the default networks."""
        rows = torch.stack([torch.cat([tensor.reshape(-1) for tensor in (*each, values)]) for each, values in results])
        like = results[0]
        return [_unflatten(row, like) for row in self.join(rows)]

    def join(self, part: Tensor) -> Tensor:
        part = part.contiguous()
        everything = part.new_empty(self.size * len(part), *part.shape[1:])
        with _lost():  # as bytes: not every backend knows every type
            dist.all_gather_into_tensor(everything.view(-1).view(torch.uint8), part.view(-1).view(torch.uint8))
        return everything

    def any(self, flag: bool) -> bool:
        return bool(self.join(torch.tensor([flag])).any())

    def from_writer(self, value: Any) -> Any:
        box = [value]
        with _lost():
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def check_equal(self, tensors: list[Tensor], step: int) -> None:
        digest = hashlib.sha256()
        for tensor in tensors:
            digest.update(tensor.detach().cpu().contiguous().numpy())
        hashes = self.join(torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)[None])
        differing = [rank for rank in range(self.size) if not torch.equal(hashes[rank], hashes[0])]
        if differing:
            raise UserError(
                f"by step {step} the weights of process {differing[0]} differ from those of process 0; train on "
                "machines of one kind, with the same packages"
            )


ONE_PROCESS = OneProcess()


def launched_processes() -> OneProcess | TorchrunProcesses:
    """Those that torchrun started, else this one."""
    return TorchrunProcesses() if dist.is_torchelastic_launched() else ONE_PROCESS


def _unflatten(row: Tensor, like: tuple[list[Tensor], Tensor]) -> tuple[list[Tensor], Tensor]:
    """One shard's gradients and values, in the memory layout of the local ones: norms and Adam depend on it."""
    gradients, values = like
    pieces = row.split([tensor.numel() for tensor in (*gradients, values)])
    ready = [
        torch.empty_strided(local.shape, local.stride(), device=row.device).copy_(piece.view(local.shape))
        for piece, local in zip(pieces, gradients, strict=False)
    ]
    return ready, pieces[-1].view(values.shape)


def _watch_launcher(launcher: int, stop: StopRequest) -> None:
    """torchrun that is killed leaves its processes running."""
    while os.getppid() == launcher:
        time.sleep(CHECK_EVERY_S)
    stop.make(f"the end of torchrun (process {launcher})", 128 + signal.SIGTERM)


@contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"\[\S*\]\s*", "", " ".join(str(error).split())).split(". ")[
            0
        ]  # without source file and address
        raise ProcessLost(
            f"another process of this training has ended ({reason}); torchrun says which. The same command resumes "
            "from the last checkpoint"
        ) from error
