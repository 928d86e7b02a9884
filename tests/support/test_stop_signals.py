"""Requests to stop, with real signals and real processes that die."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from dcgan.support.stop_signals import StopRequest, stop_requests

# Works for at most 20 seconds, until a stop is requested; then reports the reason and the exit code.
WORKER = """
import sys, time
from dcgan.support.stop_signals import stop_requests
deadline = time.monotonic() + 20
with stop_requests() as request:
    print("working", flush=True)
    while request.reason is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(float(sys.argv[1]))  # seconds to finish what was begun
print(request.reason, request.exit_code)
"""

# Starts the worker as DVC does: by a shell, with DVC_STAGE set for the worker but not for itself; then waits.
DVC = """
import os, subprocess, sys
subprocess.run(f"{sys.executable} -c \\"$WORKER\\" 0; true", shell=True, env=os.environ | eval(sys.argv[1]))
"""


@contextmanager
def started(*command: str, **variables: str):
    """A process and its descendants, from the moment the worker among them is working; all are killed in the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC")} | variables
    process = subprocess.Popen(
        [sys.executable, "-c", *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout.readline() == "working\n"
        yield process
    finally:
        with suppress(ProcessLookupError):  # all have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_requests_a_stop_and_the_work_ends_by_itself(number, code):
    with started(WORKER, "0.2") as worker:
        worker.send_signal(number)
        assert worker.stdout.read() == f"{number.name} {code}\n"
        assert worker.wait(30) == 0


@pytest.mark.parametrize(("number", "output"), [(signal.SIGTERM, ""), (signal.SIGINT, "KeyboardInterrupt")])
def test_the_same_signal_again_ends_the_process_at_once(number, output):
    with started(WORKER, "60") as worker:
        while worker.poll() is None:
            worker.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                worker.wait(0.2)
        assert worker.returncode == -number
        assert output in worker.stdout.read()


def test_a_signal_that_was_ignored_from_the_start_stays_ignored():
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    with started(ignoring + WORKER, "0") as worker:
        worker.send_signal(signal.SIGINT)
        worker.send_signal(signal.SIGINT)
        worker.terminate()
        assert worker.stdout.read() == "SIGTERM 143\n"


def test_handlers_are_restored_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with stop_requests() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert (request.reason, request.exit_code) == ("SIGTERM", 143)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_only_the_first_request_counts():
    request = StopRequest()
    assert request.reason is None
    request.make("SIGINT", 130)
    request.make("SIGTERM", 143)
    assert (request.reason, request.exit_code) == ("SIGINT", 130)


@pytest.mark.parametrize("reaped", [True, False])
def test_the_death_of_dvc_requests_a_stop(reaped):
    """The dead process may remain as a zombie, which counts as dead."""
    with started(DVC, "{'DVC_STAGE': 'train'}", WORKER=WORKER) as dvc:
        dvc.kill()
        if reaped:
            dvc.wait()
        assert dvc.stdout.read() == f"the end of dvc (process {dvc.pid}) 143\n"


def test_outside_a_stage_the_parent_may_die():
    with started(DVC, "{}", WORKER=WORKER.replace("+ 20", "+ 2")) as shell:
        shell.kill()
        assert shell.stdout.read() == "None 0\n"


def test_a_living_dvc_requests_nothing():
    with started(DVC, "{'DVC_STAGE': 'train'}", WORKER=WORKER.replace("+ 20", "+ 2")) as dvc:
        assert dvc.stdout.read() == "None 0\n"
