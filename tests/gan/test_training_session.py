"""The life of a training on disk: what identifies it, who holds it, how it ends."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dcgan
from dcgan.gan import training_session as module
from dcgan.gan.training_session import lock_path, session_folder, training_fingerprint, training_session
from dcgan.support.lock import Taken, is_held

FINGERPRINT = "0123456789abcdef"
PACKAGE = Path(dcgan.__file__).parent


def test_a_fingerprint_depends_on_every_setting_but_not_on_their_order(tmp_path):
    settings = {"learning_rate": 0.002, "workers": 2}
    first = training_fingerprint([settings, "cpu"], [])
    assert len(first) == 16
    assert training_fingerprint([dict(reversed(settings.items())), "cpu"], []) == first
    others = [[settings | {"learning_rate": 0.001}, "cpu"], [settings | {"workers": 1}, "cpu"], [settings, "cuda"]]
    assert first not in [training_fingerprint(other, []) for other in others]


def test_a_fingerprint_depends_on_the_data(tmp_path):
    files = [tmp_path / name for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")]
    for path in files:
        path.write_bytes(b"content")
    first = training_fingerprint({}, files)
    assert training_fingerprint({}, reversed(files)) == first
    for path in files:
        path.write_bytes(b"changed")
        assert training_fingerprint({}, files) != first
        path.write_bytes(b"content")


FINGERPRINT_AFTER_EACH_EDIT = """
import sys
from pathlib import Path
from dcgan.gan.training_session import training_fingerprint

print(training_fingerprint({}, []))
for name in sys.argv[1:]:
    path = Path(name)
    content = path.read_bytes()
    path.write_bytes(content + b"# edited\\n")
    print(training_fingerprint({}, []))
    path.write_bytes(content)
print(training_fingerprint({}, []))
"""


def test_a_fingerprint_depends_on_every_module_of_the_gan_package(tmp_path):
    """In a copy of the package, which is edited file by file."""
    copy = tmp_path / "dcgan"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    edited = [*(copy / "gan").glob("*.py"), copy / "images.py", copy / "constants.py"]
    done = run_python(FINGERPRINT_AFTER_EACH_EDIT, *edited, PYTHONPATH=str(tmp_path))
    first, *others, last = done.stdout.split()
    assert first == last
    assert len({first, *others}) == 1 + len(edited) == 1 + len(others)


def test_the_training_is_held_until_the_session_ends(tmp_path):
    with training_session(tmp_path, FINGERPRINT) as session:
        assert session.folder == session_folder(tmp_path, FINGERPRINT)
        assert is_held(lock_path(tmp_path, FINGERPRINT))
        assert not is_held(lock_path(tmp_path, "of another training"))
    assert not is_held(lock_path(tmp_path, FINGERPRINT))


def test_a_signal_becomes_a_stop_request(tmp_path):
    with training_session(tmp_path, FINGERPRINT) as session:
        assert session.stop.reason is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert (session.stop.reason, session.stop.exit_code) == ("SIGTERM", 143)


HOLD_SESSION = """
import sys
from pathlib import Path
from dcgan.gan.training_session import training_session

with training_session(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_gets_one_line_that_names_the_holder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WAIT_FOR_LOCK_S", 0.1)
    with start_python(HOLD_SESSION, tmp_path, FINGERPRINT) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Taken) as refused, training_session(tmp_path, FINGERPRINT):
            pass
        with training_session(tmp_path, "fedcba9876543210"):
            pass  # another training is free
        holder.communicate()
    assert f"process {holder.pid} " in str(refused.value)
    assert "(training)" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_session_waits_for_its_predecessor_to_end(tmp_path):
    """After a `kill -9` of dvc, the trainer that it left behind needs some seconds to notice and to exit."""
    with start_python(HOLD_SESSION, tmp_path, FINGERPRINT) as holder:
        assert holder.stdout.readline() == "held\n"
        waiting = start_python(HOLD_SESSION, tmp_path, FINGERPRINT)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=2)
        holder.kill()
    with waiting:
        assert waiting.communicate()[0] == "held\n"
    assert waiting.returncode == 0


FINISH_SESSION = """
import atexit, os, sys
from pathlib import Path
from dcgan.gan.training_session import training_session
from dcgan.support.files import write_atomic

atexit.register(print, "interpreter shutdown")
with training_session(Path(sys.argv[1]), sys.argv[2]) as session:
    write_atomic(session.run_log_id_file, b"some id")
    write_atomic(session.folder / "checkpoint-000000001", b"content")
    for descriptor in Path("/proc/self/fd").iterdir():
        if descriptor.is_symlink():
            print("open", os.path.realpath(descriptor))
    print("finishing")
    session.finish_and_exit()
print("not reached")
"""


def test_finishing_removes_the_folder_and_exits_at_once(tmp_path):
    done = run_python(FINISH_SESSION, tmp_path, FINGERPRINT)
    *open_files, last = done.stdout.splitlines()
    assert last == "finishing"
    assert not session_folder(tmp_path, FINGERPRINT).exists()
    assert not is_held(lock_path(tmp_path, FINGERPRINT))
    # On NFS, removing a folder fails while a file in it is open, so the lock must be elsewhere.
    assert f"open {lock_path(tmp_path, FINGERPRINT).resolve()}" in open_files
    assert not [line for line in open_files if str(session_folder(tmp_path, FINGERPRINT).resolve()) in line]


def test_the_run_log_id_is_removed_after_the_checkpoints(tmp_path, monkeypatch):
    """A kill in between must leave the id, so that the training is repeated into the same run log."""
    with training_session(tmp_path, FINGERPRINT) as session:
        session.folder.mkdir(parents=True)
        for path in (session.folder / "checkpoint-000000001", session.run_log_id_file):
            path.write_bytes(b"content")
        monkeypatch.setattr(module.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            session.finish_and_exit()
        assert list(session.folder.iterdir()) == [session.run_log_id_file]


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def start_python(code: str, *arguments: object, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)} | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_python(code: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess:
    process = start_python(code, *arguments, **variables)
    output, _ = process.communicate()
    assert process.returncode == 0
    return subprocess.CompletedProcess(process.args, 0, output)
