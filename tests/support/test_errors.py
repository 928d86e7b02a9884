"""How a process ends: exit codes and what the user sees, checked on real processes."""

import os
import shlex
import subprocess
import sys

import pytest


def script(body: str) -> list[str]:
    """A Python process that runs `body` as the main function of an entry point."""
    lines = "".join(f"\n    {line}" for line in body.splitlines())
    imports = "import sys\nfrom dcgan.support.errors import UserError, exit_on_user_error\n"
    return [sys.executable, "-c", f"{imports}@exit_on_user_error\ndef main():{lines}\nmain()"]


@pytest.mark.parametrize(
    ("body", "code", "stdout", "stderr"),
    [
        ("print('done')", 0, "done\n", ""),
        ("print('worse')\nreturn 1", 1, "worse\n", ""),
        ("raise UserError('no such file; create it')", 2, "", "error: no such file; create it\n"),
        ("class Stopped(UserError):\n    exit_code = 143\nraise Stopped('stopped')", 143, "", "error: stopped\n"),
    ],
)
def test_exit_code_and_message(body, code, stdout, stderr):
    done = subprocess.run(script(body), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, stdout, stderr)


def test_a_bug_keeps_its_traceback_and_is_not_taken_for_a_verdict():
    done = subprocess.run(script("raise ValueError('a bug')"), capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "ValueError: a bug" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: unexpected ValueError, see the traceback above"


@pytest.mark.parametrize(("body", "code"), [("print('fine')", 2), ("print('worse')\nreturn 1", 1)])
def test_output_that_cannot_be_written_is_an_error(body, code):
    with open("/dev/full", "w") as full:
        buffered = os.environ | {"PYTHONUNBUFFERED": ""}
        done = subprocess.run(script(body), stdout=full, stderr=subprocess.PIPE, text=True, env=buffered)
    assert done.returncode == code
    assert done.stderr == (
        "error: cannot write the output: No space left on device; write it elsewhere, or free space\n"
        if code == 2
        else ""
    )


@pytest.mark.parametrize("body", ["raise UserError('a mistake')", "raise ValueError('a bug')"])
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", ">&- 2>&-"])
def test_a_message_that_nobody_can_read_leaves_the_exit_code(body, redirection):
    command = f"{shlex.join(script(body))} {redirection}"
    assert subprocess.run(command, shell=True, stdout=subprocess.PIPE).returncode == 2


def test_a_message_is_one_line():
    done = subprocess.run(script("raise UserError('no file a\\nb')"), capture_output=True, text=True)
    assert done.stderr == "error: no file a b\n"


@pytest.mark.parametrize("lines", [1, 100_000])  # one line fails in the last flush, many fail in print()
def test_head_may_stop_reading_without_an_error_message(lines):
    """The process waits until its reader is gone, as in `dcgan ... | head` with a fast reader."""
    process = subprocess.Popen(
        script(f"sys.stdin.read()\nfor _ in range({lines}):\n    print('a line')"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == ""
    assert process.wait(30) == 141
    process.stderr.close()


def test_a_verdict_survives_a_reader_that_is_gone_by_the_last_flush():
    """As `dcgan check | head -0` in a script that stops on 1: 141 would be taken for another failure."""
    command = script("sys.stdin.read()\nprint('worse')\nreturn 1")
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **pipes, env=buffered)
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 1
    process.stderr.close()
