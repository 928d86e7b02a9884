"""Makes a data set: on all cores, a shard at a time, continuing where an earlier process was stopped or killed."""

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from dcgan.dataset.digits import BLOCK, DigitSource, Split
from dcgan.dataset.formats import Format
from dcgan.dataset.shards import RECORD, Record, Shard, replace_file, shards_of
from dcgan.gan.device import describe_machine, keep_freed_memory
from dcgan.support.errors import UserError, print_to_stderr
from dcgan.support.progress import progress
from dcgan.support.stop_signals import Interrupted, StopRequest

Item = TypeVar("Item")
Result = TypeVar("Result")
Made = tuple[list[Sequence], np.ndarray]  # of a shard: its blocks, prepared, and its labels
Map = Callable[[Callable[[Item], Result], Iterable[Item]], Iterator[Result]]  # results in order


def build(
    folder: Path,
    asked: dict[str, Any],
    counts: dict[Split, int],
    source: DigitSource,
    format: Format,
    stop: StopRequest,
    map_shards: Map | None = None,
) -> None:
    """Make the shards that the folder lacks or whose files are damaged, then `SHA256SUMS`.

    Args:
        asked: what identifies the data set; a folder that was begun with the same is continued.
        counts: digits of each split.
        map_shards: makes the shards elsewhere; without it, the cores of this machine do.

    Raises:
        UserError: the folder was begun with other arguments, the disk is full, or a damaged shard cannot be made again
            with the bytes that it had.
        Interrupted: a stop was requested.
    """
    rows = sum(counts.values())
    if not (folder / RECORD).exists():
        _check_space(folder, rows * format.bytes_per_digit)
    record = Record(folder, asked)
    shards = shards_of(counts)
    missing = [shard for shard in shards if not _is_finished(shard, format, record)]
    left = sum(shard.rows for shard in missing)
    if missing and left < rows:
        print_to_stderr(f"{folder}: {rows - left:,} of {rows:,} digits are there and intact")
    with progress("data set", rows, "digits", initial=rows - left) as bar:
        if map_shards:
            made = _shards_elsewhere(missing, source, format, map_shards, stop, bar.update)
        else:
            made = _shards_here(missing, source, format, stop, bar.update)
        for shard, (parts, labels) in zip(missing, made, strict=True):
            _store(shard, format.write(shard, parts, labels), record)
    sums = "".join(f"{digest}  {name}\n" for digest, name in format.finish(shards, record))
    replace_file(folder / "SHA256SUMS", sums.encode())
    record.close()


def _is_finished(shard: Shard, format: Format, record: Record) -> bool:
    files = record.files(shard)
    return files is not None and format.is_intact(shard, files)


def _store(shard: Shard, files: dict[str, str], record: Record) -> None:
    before = record.files(shard)
    if before is None:
        record.add(shard, files)
    elif before != files:
        raise UserError(
            f"shard {shard.name} is damaged, and this machine or this version of PyTorch makes other bytes than "
            "the one that made it; continue there, or choose a new folder"
        )


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"the data set needs {needed / 1e9:,.1f} GB more, but {folder} has {free / 1e9:,.1f} GB free; free space, "
            "or choose another folder or a smaller --count"
        )


def _shards_here(
    shards: list[Shard], source: DigitSource, format: Format, stop: StopRequest, on_digits: Callable[[int], object]
) -> Iterator[Made]:
    """The shards in order; their blocks are made side by side."""

    def make(job: tuple[Split, int, int]) -> tuple[Sequence, np.ndarray]:
        split, block, rows = job
        images, labels = source.block(split, block)
        return format.prepare(images[:rows]), labels[:rows]

    blocks = in_threads(make, (job for shard in shards for job in _blocks(shard)))
    for shard in shards:
        parts, labels = [], []
        for _, (prepared, block_labels) in zip(_blocks(shard), blocks, strict=False):
            _check_stop(stop)
            parts.append(prepared)
            labels.append(block_labels)
            on_digits(len(block_labels))
        yield parts, np.concatenate(labels)


def _shards_elsewhere(
    shards: list[Shard],
    source: DigitSource,
    format: Format,
    map_shards: Map,
    stop: StopRequest,
    on_digits: Callable[[int], object],
) -> Iterator[Made]:
    """The shards in order, each made as a whole by another process, perhaps on another machine."""

    def make(shard: Shard) -> tuple[Made, dict[str, str]]:
        torch.set_num_threads(1)
        keep_freed_memory()
        blocks = [(source.block(split, block), rows) for split, block, rows in _blocks(shard)]
        parts = [format.prepare(images[:rows]) for (images, _), rows in blocks]
        return (parts, np.concatenate([labels[:rows] for (_, labels), rows in blocks])), describe_machine("cpu")

    here = describe_machine("cpu")
    for shard, (made, there) in zip(shards, map_shards(make, shards), strict=True):
        _check_stop(stop)
        if there != here:
            raise UserError(
                f"another machine makes other bytes: its {there}, here {here}; run this on machines of one kind with "
                "one version of PyTorch, and start it on one of them"
            )
        on_digits(shard.rows)
        yield made


def _check_stop(stop: StopRequest) -> None:
    if stop.reason:
        raise Interrupted(
            f"stopped by {stop.reason}; run the same command again to continue, finished shards are kept",
            stop.exit_code,
        )


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
