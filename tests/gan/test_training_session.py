"""The life of a training run on disk: what identifies it, who holds it, how it ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dcgan
from dcgan.gan import training_session as module
from dcgan.gan.training_session import lock_path, session_folder, training_fingerprint, training_session
from dcgan.support.lock import hold, is_held

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
import time
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
    with training_session(tmp_path, FINGERPRINT, tmp_path) as session:
        assert session.folder == session_folder(tmp_path, FINGERPRINT)
        assert is_held(lock_path(tmp_path, FINGERPRINT))
        assert not is_held(lock_path(tmp_path, "of another training"))
    assert not is_held(lock_path(tmp_path, FINGERPRINT))


def test_a_signal_becomes_a_stop_request(tmp_path):
    with training_session(tmp_path, FINGERPRINT, tmp_path) as session:
        assert session.stop.reason is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert (session.stop.reason, session.stop.exit_code) == ("SIGTERM", 143)


HOLD_SESSION = """
import sys
import time
from pathlib import Path
from dcgan.gan.training_session import training_session
from dcgan.support.errors import exit_on_user_error

@exit_on_user_error
def main():
    with training_session(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[1])) as session:
        print("held", flush=True)
        sys.stdin.readline()
        print(session.stop.reason)

main()
"""


def test_a_session_waits_for_the_same_training_and_names_its_holder(tmp_path):
    """A queued experiment with the same training, or a trainer whose dvc was killed and which ends within seconds."""
    with start_python(HOLD_SESSION, tmp_path, FINGERPRINT) as holder:
        assert holder.stdout.readline() == "held\n"
        with start_python(HOLD_SESSION, tmp_path, "fedcba9876543210") as other:
            assert other.communicate("\n")[0] == "held\nNone\n"  # another training is free
        waiting = start_python(HOLD_SESSION, tmp_path, FINGERPRINT)
        line = waiting.stdout.readline()
        assert line.startswith(f"waiting: the same training is held by process {holder.pid} ")
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=0.5)
        holder.kill()
    with waiting:
        assert waiting.communicate("\n")[0] == "held\nNone\n"
    assert waiting.returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_waiting_with_one_line(tmp_path, number, code):
    with hold(lock_path(tmp_path, FINGERPRINT), "training"):
        waiting = start_python(HOLD_SESSION, tmp_path, FINGERPRINT)
        assert waiting.stdout.readline().startswith("waiting: ")
        waiting.send_signal(number)
        output, _ = waiting.communicate(timeout=10)
    assert output == f"error: stopped by {number.name} while waiting for the same training\n"
    assert waiting.returncode == code


def test_a_deleted_lock_is_restored(tmp_path):
    path = lock_path(tmp_path, FINGERPRINT)
    with training_session(tmp_path, FINGERPRINT, tmp_path) as session:
        shutil.rmtree(path.parent)
        wait_for(lambda: is_held(path))
        assert session.stop.reason is None
    assert not is_held(path)


def test_a_training_whose_deleted_lock_was_taken_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOCK_CHECK_EVERY_S", 0.2)
    path = lock_path(tmp_path, FINGERPRINT)
    with training_session(tmp_path, FINGERPRINT, tmp_path) as session:
        path.unlink()
        with hold(path, "another training"):
            wait_for(lambda: session.stop.reason)
    assert "the loss of its lock" in session.stop.reason
    assert "(another training)" in session.stop.reason
    assert session.stop.exit_code == 2


FINISH_SESSION = """
import atexit, os, sys
from pathlib import Path
from dcgan.gan.training_session import training_session
from dcgan.support.files import write_atomic

atexit.register(print, "interpreter shutdown")
workspace = Path(sys.argv[1])
with training_session(workspace, sys.argv[2], workspace) as session:
    print("finished before:", session.is_finished, session.folder.exists())
    write_atomic(session.run_log_id_file, b"some id")
    write_atomic(session.folder / "checkpoint-000000001", b"content")
    write_atomic(workspace / "models/generator.safetensors", b"weights")
    session.finish_and_exit()
print("not reached")
"""


def test_a_finished_training_is_kept_and_the_process_ends_at_once(tmp_path):
    done = run_python(FINISH_SESSION, tmp_path, FINGERPRINT)
    assert done.stdout == "finished before: False False\n"
    folder = session_folder(tmp_path, FINGERPRINT)
    assert {path.name for path in folder.iterdir()} == {"run_log", "checkpoint-000000001", "finished.json"}
    assert not is_held(lock_path(tmp_path, FINGERPRINT))


def test_a_finished_training_is_used_until_dvc_lock_records_it(tmp_path):
    run_python(FINISH_SESSION, tmp_path, FINGERPRINT)
    used = run_python(FINISH_SESSION, tmp_path, FINGERPRINT, DVC_STAGE="train").stdout.splitlines()
    assert used[0].startswith("this training was finished at ")
    assert used[1:] == ["finished before: True True"]
    (tmp_path / "dvc.lock").write_text("written by dvc")
    forced = run_python(FINISH_SESSION, tmp_path, FINGERPRINT, DVC_STAGE="train")
    assert forced.stdout == "finished before: False False\n"


def test_the_next_training_removes_finished_ones_that_nobody_needs(tmp_path):
    for name in ("obsolete", "in use", "new"):
        run_python(FINISH_SESSION, tmp_path, name)
    lock = tmp_path / "dvc.lock"
    lock.write_text("written by dvc")
    for name in ("obsolete", "in use"):
        os.utime(session_folder(tmp_path, name) / "finished.json", (1, 1))
    os.utime(lock, (2, 2))
    with hold(lock_path(tmp_path, "in use"), "training"), training_session(tmp_path, "next", tmp_path):
        assert {path.name for path in session_folder(tmp_path, "*").parent.iterdir()} == {"in use", "new"}


REMOVE_SESSION = """
import os, sys
from pathlib import Path
from dcgan.gan.training_session import remove_session, session_folder, training_session
from dcgan.support.files import write_atomic

def check(event, arguments):
    if event in ("os.remove", "os.rmdir", "shutil.rmtree"):
        opened = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        inside = [path for path in opened if path.startswith(str(folder)) and os.path.isfile(path)]
        print("removing", Path(arguments[0]).name, inside)

state = Path(sys.argv[1])
folder = session_folder(state, sys.argv[2]).resolve()
with training_session(state, sys.argv[2], state) as session:
    write_atomic(session.run_log_id_file, b"some id")
    write_atomic(session.folder / "checkpoint-000000001", b"content")
    sys.addaudithook(check)
    remove_session(session.folder)
"""


def test_a_session_is_removed_with_the_checkpoints_first_and_no_file_in_it_open(tmp_path):
    """After a kill in between, it is not resumed. On NFS, a folder cannot be removed while a file in it is open."""
    done = run_python(REMOVE_SESSION, tmp_path, FINGERPRINT)
    assert done.stdout.splitlines()[:2] == ["removing checkpoint-000000001 []", f"removing {FINGERPRINT} []"]
    assert not [line for line in done.stdout.splitlines() if not line.endswith("[]")]
    assert not session_folder(tmp_path, FINGERPRINT).exists()


def wait_for(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds} seconds"
        time.sleep(0.02)


def start_python(code: str, *arguments: object, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)} | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_python(code: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess:
    process = start_python(code, *arguments, **variables)
    output, _ = process.communicate()
    assert process.returncode == 0
    return subprocess.CompletedProcess(process.args, 0, output)
