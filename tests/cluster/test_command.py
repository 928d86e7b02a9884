"""With real processes and signals."""

import os
import signal
import subprocess
import sys

import psutil
from cluster.toys import wait_for

from dcgan.cluster.command import Command


def start(tmp_path, script: str) -> Command:
    return Command(["bash", "-c", script], tmp_path, {"NAME": "value"}, tmp_path / "log")


def test_output_goes_to_the_log_and_the_status_is_that_of_the_command(tmp_path):
    command = start(tmp_path, "echo $NAME; echo problem >&2; exit 3")
    wait_for(lambda: command.poll() is not None)
    assert command.poll() == 3 and (tmp_path / "log").read_text() == "value\nproblem\n"


def test_stopping_waits_for_what_the_command_has_started(tmp_path):
    """As DVC ends at once, and its trainer only when it has saved a checkpoint."""
    (tmp_path / "trainer.py").write_text(
        "import signal, sys, time\n"
        "def stop(*_):\n    time.sleep(1)\n    open('saved', 'w')\n    sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop)\nopen('started', 'w')\ntime.sleep(100)\n"
    )
    command = start(tmp_path, f"{sys.executable} trainer.py & wait")
    wait_for((tmp_path / "started").exists)
    command.request_stop()
    command.wait_for_stop()
    assert (tmp_path / "saved").exists()


def test_a_command_ends_with_the_process_that_started_it(tmp_path):
    code = (
        "import pathlib, sys, time\nfrom dcgan.cluster.command import Command\nfolder = pathlib.Path(sys.argv[1])\n"
        "Command(['bash', '-c', 'echo $$ > pid; exec sleep 100'], folder, {}, folder / 'log')\ntime.sleep(100)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=os.environ | {"PYTHONPATH": _source()})
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    command = psutil.Process(int((tmp_path / "pid").read_text()))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    gone, _ = psutil.wait_procs([command], timeout=20)
    assert gone


def _source() -> str:
    import dcgan

    return os.path.dirname(os.path.dirname(dcgan.__file__))
