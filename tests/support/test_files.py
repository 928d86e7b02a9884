"""Atomic writes: the old file or the complete new one, with a full disk, a kill and a folder that is not writable."""

import hashlib
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from clones import ROOT, run
from dvc.utils.serialize import load_yaml

from dcgan.support.errors import UserError
from dcgan.support.files import hard_link, read_json, read_yaml, sha256, write_atomic, write_json


@contextmanager
def file_size_limit(size: int):
    """A limit on the size of files stands in for the full disk: writing beyond it fails in the same call."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_written_file_is_complete_and_readable_by_others_in_a_new_folder(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomic(path, b"content")
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_full_disk_keeps_the_old_file_and_leaves_no_partial_one(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with file_size_limit(1000), pytest.raises(UserError, match=r"cannot write .*file \(5,000 bytes\): File too large"):
        write_atomic(path, bytes(5000))
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_hard_link_replaces_the_target_and_leaves_nothing_else(tmp_path):
    source, target = tmp_path / "a/file", tmp_path / "b/c/file"
    write_atomic(source, b"new")
    write_atomic(target, b"old")
    for _ in range(2):
        hard_link(source, target)
        assert target.samefile(source) and target.read_bytes() == b"new"
        assert [path.name for path in sorted(tmp_path.rglob("*")) if path.is_file()] == ["file", "file"]
    write_atomic(source, b"newer")  # replaces the file, so that the link keeps its content
    assert target.read_bytes() == b"new"


def test_a_hard_link_to_another_file_system_is_refused_and_the_target_kept(tmp_path):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("one file system")
    write_atomic(tmp_path / "file", b"old")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        write_atomic(Path(folder) / "file", b"new")
        with pytest.raises(OSError, match="cross-device"):
            hard_link(Path(folder) / "file", tmp_path / "file")
        assert [path.name for path in Path(folder).iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_folder_that_cannot_be_created_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_bytes(b"not a folder")
    with pytest.raises(UserError, match=r"cannot write .*below.*; free space or make the folder writable") as caught:
        write_atomic(tmp_path / "file" / "below", b"content")
    assert "\n" not in str(caught.value)


def test_reader_never_sees_a_partial_file(tmp_path):
    """One thread replaces a file of a megabyte again and again while this one reads it."""
    path, contents, done = tmp_path / "file", [bytes([value]) * 2**20 for value in (1, 2)], threading.Event()
    write_atomic(path, contents[0])

    def replace() -> None:
        for turn in range(30):
            write_atomic(path, contents[turn % 2])
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    reads = 0
    while not done.is_set():
        assert path.read_bytes() in contents
        reads += 1
    writer.join()
    assert reads


def test_a_kill_in_the_middle_of_writing_keeps_the_old_file(tmp_path):
    """SIGKILL between writing the temporary file and moving it into place: nothing can be cleaned up."""
    path = tmp_path / "file"
    write_atomic(path, b"old")
    killed_while_writing(path)
    assert path.read_bytes() == b"old"


def killed_while_writing(path) -> None:
    code = (
        "import os, signal, sys; from dcgan.support.files import write_atomic; "
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL); write_atomic(sys.argv[1], b'new')"
    )
    assert subprocess.run([sys.executable, "-c", code, path]).returncode == -signal.SIGKILL


def test_what_a_kill_leaves_is_ignored_by_git_and_removed_by_a_later_write(tmp_path):
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    path = tmp_path / "metrics" / "train.json"
    write_atomic(path, b"old")
    run(tmp_path, "git", "init", "-q")
    run(tmp_path, "git", "add", "-A")
    run(tmp_path, "git", "commit", "-qm", "start")
    killed_while_writing(path)
    (left,) = set(path.parent.iterdir()) - {path}
    assert run(tmp_path, "git", "status", "--porcelain").stdout == ""
    write_atomic(path, b"old")
    assert left.exists(), "it could be of a process that is still writing"
    os.utime(left, (0, 0))
    write_atomic(path.with_name("other.json"), b"other")
    assert left.exists(), "it belongs to another file"
    write_atomic(path, b"old")
    assert not left.exists()


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "link to a device", "link to a folder"])
def test_only_a_regular_file_is_replaced(tmp_path, kind):
    path = target = tmp_path / "target"
    if kind.startswith("link"):
        target, path = tmp_path / "real", tmp_path / "target"
        path.symlink_to(target)
    if "device" in kind:
        try:
            os.mknod(target, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root may create devices")
    elif kind == "pipe":
        os.mkfifo(target)
    else:
        target.mkdir()
    before = target.stat()
    with pytest.raises(UserError, match=r"cannot write .*target: it is not a regular file"):
        write_atomic(path, b"content")
    assert (target.stat().st_mode, target.stat().st_ino) == (before.st_mode, before.st_ino)
    assert not list(tmp_path.glob(".target*"))


def test_a_link_to_a_file_is_replaced_and_its_target_kept(tmp_path):
    """DVC links outputs to its cache, which must not be written through."""
    (tmp_path / "cached").write_bytes(b"old")
    (tmp_path / "file").symlink_to(tmp_path / "cached")
    write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new" and not (tmp_path / "file").is_symlink()
    assert (tmp_path / "cached").read_bytes() == b"old"


def test_json_round_trip_ends_with_a_newline(tmp_path):
    value = {"fid": 1.25, "names": ["a"], "none": None}
    write_json(tmp_path / "file.json", value)
    assert read_json(tmp_path / "file.json") == value
    assert (tmp_path / "file.json").read_text().endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"fid": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"fid": ', r"is not JSON .*; restore the file or create it again"),
        (b"[" * 100_000, r"is not JSON .*; restore the file or create it again"),
        (b"9" * 5000, r"is not JSON \(Exceeds the limit"),
        (b'{"name": "\xe9"}', r"is not JSON \('utf-8' codec can't decode byte 0xe9"),
        (b"{\n<<<<<<< HEAD\n", r"has the markers of a merge conflict \(line 2\)"),
    ],
)
def test_unreadable_json_is_one_clear_line(tmp_path, content, message):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(UserError, match=r"file\.json " + message) as caught:
        read_json(tmp_path / "file.json")
    assert "\n" not in str(caught.value)


def test_a_missing_json_file_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*missing\.json: No such file"):
        read_json(tmp_path / "missing.json")


def test_yaml_is_read_as_dvc_reads_it(tmp_path):
    """YAML 1.2: numbers as Python prints them, and as `dvc exp run -S` writes them."""
    text = "a: 5e-05\nb: 1e+16\nc: 1e-3\nd: 1e6\ne: yes\n"
    (tmp_path / "file.yaml").write_text(text)
    value = read_yaml(tmp_path / "file.yaml")
    assert value == {"a": 5e-05, "b": 1e16, "c": 1e-3, "d": 1e6, "e": "yes"} == load_yaml(tmp_path / "file.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: 2\na: 3\n", r'not valid YAML \(found duplicate key "a" with value "3" .*, line 3\)'),
        (b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> x\n", r"markers of a merge conflict \(line 2\)"),
        (b"a: caf\xe9\n", r"not valid YAML \('utf-8' codec can't decode byte 0xe9 in position 6"),
        (b"a: " + b"9" * 5000, r"not valid YAML \(Exceeds the limit \(4300 digits\)"),
        (b"a: " + b"[" * 3000, r"not valid YAML \(maximum recursion depth exceeded"),
        (b"a: [", r"not valid YAML \(.*, line 1\); correct or restore the file"),
        (b"a: !!python/object/apply:os.system [true]", r"not valid YAML \(could not determine a constructor"),
    ],
)
def test_yaml_that_cannot_be_read_is_one_clear_line(tmp_path, content, message):
    (tmp_path / "file.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"file\.yaml .*" + message) as caught:
        read_yaml(tmp_path / "file.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_missing_yaml_file_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*missing\.yaml: No such file"):
        read_yaml(tmp_path / "missing.yaml")


def test_sha256_of_a_file(tmp_path):
    content = os.urandom(300_000)
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    with pytest.raises(UserError, match="Is a directory"):
        sha256(tmp_path)
