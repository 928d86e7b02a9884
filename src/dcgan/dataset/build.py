"""Makes a data set: on all cores, a shard at a time, continuing where an earlier process was stopped or killed."""

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from dcgan.dataset.digits import BLOCK, DigitSource, Split
from dcgan.dataset.formats import Format
from dcgan.dataset.shards import Record, Shard, replace_file, shards_of
from dcgan.gan.device import keep_freed_memory
from dcgan.support.errors import UserError, print_to_stderr
from dcgan.support.progress import progress
from dcgan.support.stop_signals import Interrupted, StopRequest

Item = TypeVar("Item")
Result = TypeVar("Result")


def build(
    folder: Path, counts: dict[Split, int], source: DigitSource, format: Format, record: Record, stop: StopRequest
) -> None:
    """Make the shards that `record` does not have or whose files are damaged, then `SHA256SUMS`.

    Raises:
        UserError: the disk is full, or a damaged shard cannot be made again with the bytes that it had.
        Interrupted: a stop was requested.
    """
    shards = shards_of(counts)
    missing = [shard for shard in shards if not _is_finished(shard, format, record)]
    rows, left = sum(counts.values()), sum(shard.rows for shard in missing)
    if missing and left < rows:
        print_to_stderr(f"{folder}: {rows - left:,} of {rows:,} digits are there and intact")
    _check_space(folder, left * format.bytes_per_digit)
    with progress("data set", rows, "digits", initial=rows - left) as bar:
        for shard, parts, labels in _finished_shards(missing, source, format, stop, bar.update):
            _store(shard, format.write(shard, parts, labels), record)
    sums = format.finish(shards, record)
    replace_file(folder / "SHA256SUMS", "".join(f"{digest}  {name}\n" for digest, name in sums).encode())


def _is_finished(shard: Shard, format: Format, record: Record) -> bool:
    files = record.files(shard)
    return files is not None and format.is_intact(shard, files)


def _store(shard: Shard, files: dict[str, str], record: Record) -> None:
    before = record.files(shard)
    if before is None:
        record.add(shard, files)
    elif before != files:
        raise UserError(
            f"shard {shard.name} is damaged, and this machine or this version of PyTorch makes other bytes than the one "
            "that made it; continue there, or choose a new folder"
        )


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"the data set needs {needed / 1e9:,.1f} GB more, but {folder} has {free / 1e9:,.1f} GB free; free space, "
            "or choose another folder or a smaller --count"
        )


def _finished_shards(
    shards: list[Shard], source: DigitSource, format: Format, stop: StopRequest, on_digits: Callable[[int], object]
) -> Iterator[tuple[Shard, list[Sequence], np.ndarray]]:
    """Each shard with its blocks, prepared, and its labels, in order; the blocks are made side by side."""

    def make(job: tuple[Split, int, int]) -> tuple[Sequence, np.ndarray]:
        split, block, rows = job
        images, labels = source.block(split, block)
        return format.prepare(images[:rows]), labels[:rows]

    blocks = in_threads(make, (job for shard in shards for job in _blocks(shard)))
    for shard in shards:
        parts, labels = [], []
        for _, (prepared, block_labels) in zip(_blocks(shard), blocks, strict=False):
            if stop.reason:
                raise Interrupted(
                    f"stopped by {stop.reason}; run the same command again to continue, finished shards are kept",
                    stop.exit_code,
                )
            parts.append(prepared)
            labels.append(block_labels)
            on_digits(len(block_labels))
        yield shard, parts, np.concatenate(labels)


def _blocks(shard: Shard) -> Iterator[tuple[Split, int, int]]:
    """(split, block, rows) of the blocks in a shard."""
    for row in range(shard.first, shard.first + shard.rows, BLOCK):
        yield shard.split, row // BLOCK, min(BLOCK, shard.first + shard.rows - row)


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results in order, computed on all cores, with a few computed ahead: memory does not grow with the items.

    A thread of its own for each item, and one thread within an operation of PyTorch: so the number of cores changes
    neither the results nor their order.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    threads = len(os.sched_getaffinity(0))
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
