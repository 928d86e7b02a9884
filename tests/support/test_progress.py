"""Progress in a log file and on a terminal."""

import os
import pty
import subprocess
import sys
import termios
from contextlib import suppress

from dcgan.support import progress as module
from dcgan.support.progress import progress


def test_log_file_gets_one_line_at_the_end_of_short_work(capfd):
    with progress("train", 1200, "images") as bar:
        for _ in range(3):
            bar.update(400)
        bar.set_postfix_str("loss 0.5")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("train: 1,200/1,200 images (100 %), ")
    assert line.endswith("/s  loss 0.5")


def test_log_file_gets_a_line_every_few_seconds_of_long_work(capfd, monkeypatch):
    monkeypatch.setattr(module, "PLAIN_LINE_EVERY_S", 0)
    with progress("train", 30, "images", initial=10) as bar:
        bar.update(5)
        bar.update(15)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "train: 15/30 images (50 %)",
        "train: 30/30 images (100 %)",
        "train: 30/30 images (100 %)",
    ]


def test_rate_leaves_out_what_was_done_before(capfd):
    """A training run resumed at 99 % of a billion images does not run at a billion images per second."""
    with progress("train", 10**9, "images", initial=10**9 - 10):
        pass
    (line,) = capfd.readouterr().err.splitlines()
    assert line == "train: 999,999,990/1,000,000,000 images (100 %), 0/s"


def test_nothing_to_do_is_no_division_by_zero(capfd):
    with progress("sample", 0, "digits"):
        pass
    assert "sample: 0/0 digits (0 %), 0/s" in capfd.readouterr().err


def test_terminal_gets_a_bar():
    code = (
        "from dcgan.support.progress import progress\n"
        "with progress('train', 20, 'images') as bar: bar.update(20); bar.set_postfix_str('loss 0.5')"
    )
    terminal, other_end = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    process = subprocess.Popen([sys.executable, "-c", code], stderr=other_end)
    os.close(other_end)
    shown = b""
    with open(terminal, "rb", buffering=0) as stream, suppress(OSError):  # EIO: the other end is closed
        while part := stream.read(1000):
            shown += part
    shown = shown.decode()
    assert process.wait(60) == 0
    assert "\r" in shown
    assert "train: 100%" in shown
    assert "20.0/20.0" in shown
    assert "loss 0.5" in shown
