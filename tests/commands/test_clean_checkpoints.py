"""`dcgan clean` beside living trainings, and no open file in a folder that it removes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcgan.commands import clean
from dcgan.gan.training_session import lock_path, session_folder
from dcgan.paths import local_state
from dcgan.support.files import write_atomic
from dcgan.tracking.locations import store_uri
from dcgan.tracking.run_log import RunLog
from dcgan.tracking.sent import Sent, write_sent

LIVING = """
import sys
from pathlib import Path
from dcgan.gan.training_session import training_session
from dcgan.support.files import write_atomic
from dcgan.tracking.session import start_or_resume

root = Path(sys.argv[1])
with training_session(root / ".dcgan", "living", root) as session:
    run_log = start_or_resume(root, session.run_log_id_file, "training")
    write_atomic(session.folder / "checkpoint-000000001", b"content")
    print("training", flush=True)
    sys.stdin.readline()
"""


def test_a_living_training_is_left_alone_even_right_after_its_lock_was_deleted(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", LIVING, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "training\n"
    assert clean.checkpoints(tmp_path) == []
    lock_path(local_state(tmp_path), "living").unlink()
    assert clean.checkpoints(tmp_path) == []
    process.kill()
    process.communicate()
    (item,) = clean.checkpoints(tmp_path)
    assert item.text.startswith(f"checkpoint {tmp_path}")
    item.clean()
    assert clean.checkpoints(tmp_path) == []


@pytest.fixture
def removals(monkeypatch):
    """Every removal during the test: (path, files open in this process below it)."""
    seen, watching = [], True

    def watch(event: str, arguments: tuple) -> None:
        if watching and event in ("os.remove", "os.rmdir", "shutil.rmtree") and not isinstance(arguments[0], int):
            path = os.path.realpath(arguments[0])
            descriptors = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
            opened = {os.path.realpath(link) for link in descriptors}
            seen.append((path, [name for name in opened if name.startswith(path) and os.path.isfile(name)]))

    sys.addaudithook(watch)
    yield seen
    watching = False


def test_no_file_is_open_in_a_folder_that_is_removed(tmp_path, removals):
    """On NFS, such a folder cannot be removed: its open files stay in it under names like `.nfs000...`."""
    dead, old = RunLog.create(tmp_path, "dead"), RunLog.create(tmp_path, "old")
    old.finish("FINISHED")
    write_sent(old.folder, store_uri(tmp_path), Sent("sent", old.size()))
    os.utime(old.folder / "events.jsonl", (1, 1))
    for run_log in (dead, old):
        run_log.__dict__.pop("_alive").close()  # as if its process had ended
    session = session_folder(local_state(tmp_path), "interrupted")
    write_atomic(session / "checkpoint-000000001", b"content")
    uri = store_uri(tmp_path)
    for item in [
        *clean.dead_run_logs(tmp_path),
        *clean.checkpoints(tmp_path),
        *clean.old_run_logs(tmp_path, uri, tmp_path),
    ]:
        item.clean()
    removed = {path for path, _ in removals}
    assert {str(session), str(old.folder), str(session / "checkpoint-000000001")} <= removed
    assert [opened for _, opened in removals if opened] == []
    assert not session.exists() and not old.folder.exists()
