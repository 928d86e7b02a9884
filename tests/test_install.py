"""Installing a lock with uv: pip's settings hold, only the locked files get in, and one line says what is wrong."""

import hashlib
import os
import re
import socket
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
from clones import ROOT
from wheels import make_wheel

from install import Progress, pip_reason, uv_reason, uv_settings


@pytest.fixture
def python(tmp_path) -> Path:
    """The Python of a new environment, which finds pip and uv in the one that runs the tests."""
    folder = tmp_path / ".venv"
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (packages / "outside.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"


def install(python: Path, lock: Path, **variables: str) -> subprocess.CompletedProcess:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    settings = {"PIP_CONFIG_FILE": os.devnull, "UV_HTTP_RETRIES": "0", "UV_CACHE_DIR": str(lock.parent / "cache")}
    command = [python, ROOT / "install.py", lock]
    return subprocess.run(command, env=clean | settings | variables, capture_output=True, text=True)


def lock_of(wheel: Path, digest: str | None = None) -> Path:
    path = wheel.with_name("lock.txt")
    path.write_text(f"digits==1.0 --hash=sha256:{digest or hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return path


def test_packages_come_from_where_pip_is_told_to_look(tmp_path, python):
    lock = lock_of(make_wheel(tmp_path, "digits-1.0", {"digits/data": b"content"}))
    done = install(python, lock, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "installing lock.txt, 1 packages, into .venv"
    assert next(tmp_path.glob(".venv/lib/python3*/site-packages/digits/data")).read_bytes() == b"content"


def test_a_wheel_with_another_hash_is_refused_in_one_line(tmp_path, python):
    lock = lock_of(make_wheel(tmp_path, "digits-1.0", {"digits/data": b"content"}), digest="0" * 64)
    done = install(python, lock, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    assert done.returncode == 1
    assert re.fullmatch(r"installing .*\nerror: .*Hash mismatch.*sha256:0000.*\n", done.stderr), done.stderr
    assert not list(tmp_path.glob(".venv/lib/python3*/site-packages/digits"))


def test_an_index_out_of_reach_is_named_in_one_line(tmp_path, python):
    """The index of pip's configuration file, where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/simple"
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nindex-url = {address}\n")
    lock = tmp_path / "lock.txt"
    lock.write_text(f"digits==1.0 --hash=sha256:{'0' * 64}\n")
    done = install(python, lock, PIP_CONFIG_FILE=str(config))
    assert done.returncode == 1
    expected = rf"installing .*\nerror: .*{re.escape(address)}/digits/.*Connection refused.*pip config list`\n"
    assert re.fullmatch(expected, done.stderr), done.stderr


def test_pips_settings_reach_uv_unless_uv_has_its_own():
    settings = {"index-url": "https://a/simple", "extra-index-url": "https://b\nhttps://c", "find-links": "/d /e"}
    settings |= {"cert": "/f.pem", "proxy": "http://g:1", "timeout": "60", "quiet": "1"}
    assert uv_settings(settings, {"UV_DEFAULT_INDEX": "https://mine"}) == {
        "UV_INDEX": "https://b https://c",
        "UV_FIND_LINKS": "/d,/e",
        "SSL_CERT_FILE": "/f.pem",
        "HTTP_PROXY": "http://g:1",
        "HTTPS_PROXY": "http://g:1",
        "UV_HTTP_TIMEOUT": "60",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_pips_reason_for_not_installing_uv_is_one_line():
    stderr = (
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(refused)': /simple/uv/\n"
        "ERROR: Could not find a version that satisfies the requirement uv==1\nERROR: No matching distribution\n"
    )
    assert pip_reason(stderr) == (
        "'NewConnectionError(refused)': /simple/uv/; Could not find a version that satisfies the requirement uv==1"
    )
    assert pip_reason("/usr/bin/python3: No module named pip\n") == "/usr/bin/python3: No module named pip"


def test_uvs_reason_is_one_line():
    lines = ["Resolved 2 packages", "error: Failed to download `a==1`", "  cause: first", "", "    detail"]
    assert uv_reason([*lines, "  cause: middle", "  cause: last"]) == "Failed to download `a==1`: first detail: last"


def test_the_progress_line_shows_how_much_is_downloaded_of_how_much():
    progress = Progress()
    for line in ["Resolved 3 packages in 1s", "Downloading torch (500.0MiB)", "Downloading ruff (10.0MiB)"]:
        progress.read(line)
    progress.read(" Downloaded ruff")
    progress.stop()
    assert re.fullmatch(r"10 of 535 MB downloaded, \d+ s; on the way: torch", progress._line())
