"""Progress in a log file and on a terminal."""

import os
import pty
import re
import subprocess
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from dcgan.support import progress as module
from dcgan.support.progress import progress, progress_together


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


def test_the_time_left_is_that_of_the_whole_pipeline(capfd, monkeypatch):
    monkeypatch.setattr(module, "PLAIN_LINE_EVERY_S", 0)
    with progress("train", 10**9, "images", later_s=7200) as bar:
        time.sleep(0.01)
        bar.update(10**9 - 1)
    line = capfd.readouterr().err.splitlines()[0]
    assert line.endswith("/s, 2:00:00 left for the whole pipeline")


def test_tasks_in_threads_share_one_line(capfd, monkeypatch):
    monkeypatch.setattr(module, "PLAIN_LINE_EVERY_S", 0)

    def task(cost: float) -> None:
        with together.task(cost):
            for _ in range(2):  # the second attempt of a task that has used its part up
                with progress("a classifier", 10, "images") as bar:
                    bar.update(5)
                    bar.set_postfix_str("not shown")
                    bar.update(5)

    with progress_together("evaluate", 4) as together, ThreadPoolExecutor(2) as pool:
        list(pool.map(task, [1, 3]))
    lines = capfd.readouterr().err.splitlines()
    assert all(re.fullmatch(r"evaluate: \d+ %(, [\d:]+ left)?", line) for line in lines), lines
    assert lines[-1] == "evaluate: 100 %"
    assert len({line.split(",")[0] for line in lines}) > 3


def test_a_task_without_progress_counts_when_it_is_done(capfd, monkeypatch):
    monkeypatch.setattr(module, "PLAIN_LINE_EVERY_S", 0)
    with progress_together("evaluate", 4) as together:
        with together.task(1):
            pass
        with progress("not a part", 10, "images") as bar:
            bar.update(10)
    lines = [line.split(",")[0] for line in capfd.readouterr().err.splitlines()]
    assert lines[0] == "evaluate: 25 %"
    assert lines[1] == "not a part: 10/10 images (100 %)"


def test_terminal_gets_one_line_that_fits():
    code = (
        "import time; from dcgan.support.progress import progress\n"
        "with progress('train', 20, 'images') as bar:\n"
        "    bar.set_postfix_str('loss 0.5' + 100 * '.'); time.sleep(0.3); bar.update(10); bar.update(10)"
    )
    terminal, other_end = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 60))
    clean = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=other_end, env=clean)
    os.close(other_end)
    shown = b""
    with open(terminal, "rb", buffering=0) as stream, suppress(OSError):  # EIO: the other end is closed
        while part := stream.read(1000):
            shown += part
    drawn = shown.decode().split("\r\x1b[K")[1:]
    assert process.wait(60) == 0
    assert drawn[0].startswith("train: 10/20 images (50 %), ")
    assert drawn[-1].startswith("train: 20/20 images (100 %), ")
    assert drawn[-1].endswith("\r\n")
    assert all(len(line.strip()) < 60 for line in drawn)
