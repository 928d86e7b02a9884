"""Progress of long work: one line, redrawn on a terminal, printed every few seconds elsewhere."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PLAIN_LINE_EVERY_S = 15.0
REDRAW_EVERY_S = 0.2
CLEAR_LINE = "\r\x1b[K"

_share = threading.local()  # .part: the part of a line that belongs to the task that this thread runs


class Bar(Protocol):
    """What `progress` yields."""

    def update(self, amount: float = 1) -> None: ...
    def set_postfix_str(self, note: str) -> None: ...


class _Line:
    def __init__(self, description: str, total: float, unit: str, initial: float, later_s: float) -> None:
        self.description, self.total, self.unit, self.later_s = description, total, unit, later_s
        self.done = self.initial = initial
        self.started = self.shown = time.monotonic()
        self.note = ""
        self.terminal = sys.stderr.isatty()
        self.lock = threading.Lock()

    def update(self, amount: float = 1) -> None:
        with self.lock:
            self.done += amount
            if time.monotonic() - self.shown >= (REDRAW_EVERY_S if self.terminal else PLAIN_LINE_EVERY_S):
                self.show()

    def set_postfix_str(self, note: str) -> None:
        self.note = f"  {note}"

    def show(self, end: str = "") -> None:
        """Draw the line again; `end` is "\\n" for the last time."""
        self.shown = time.monotonic()
        if self.terminal:
            text = CLEAR_LINE + self.text()[: os.get_terminal_size(sys.stderr.fileno()).columns - 1] + end
        else:
            text = self.text() + "\n"
        print(text, file=sys.stderr, end="", flush=True)

    def text(self) -> str:
        rate = (self.done - self.initial) / max(self.shown - self.started, 1e-9)
        percent = f"{100 * self.done / max(self.total, 1):.0f} %"
        count = f"{self.done:,}/{self.total:,} {self.unit} ({percent}), {rate:,.0f}/s" if self.unit else percent
        left = ""
        if rate and self.done < self.total:
            whole = " for the whole pipeline" if self.later_s else ""
            left = f", {_clock((self.total - self.done) / rate + self.later_s)} left{whole}"
        return f"{self.description}: {count}{left}{self.note}"


class _Part:
    """A task's part of a line: `cost` of the line's total."""

    def __init__(self, line: _Line, cost: float) -> None:
        self.line, self.left = line, cost

    def advance(self, cost: float) -> None:
        step = min(cost, self.left)  # a task that repeats something does not take more than its part
        self.left -= step
        self.line.update(step)


class _Inside:
    """The bar of work inside a task: it moves the task's part."""

    def __init__(self, part: _Part, total: float) -> None:
        self.part, self.each = part, part.left / max(total, 1)

    def update(self, amount: float = 1) -> None:
        self.part.advance(amount * self.each)

    def set_postfix_str(self, note: str) -> None:
        """There is no room for the notes of several tasks."""


class Together:
    """One line for tasks that run at the same time, in threads."""

    def __init__(self, line: _Line) -> None:
        self.line = line

    @contextmanager
    def task(self, cost: float) -> Iterator[None]:
        """What `progress` shows in this thread, until the end of the task, counts as `cost` of the total."""
        _share.part = part = _Part(self.line, cost)
        try:
            yield
        finally:
            del _share.part
        part.advance(part.left)


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@contextmanager
def progress(description: str, total: int, unit: str, initial: int = 0, later_s: float = 0) -> Iterator[Bar]:
    """Show on stderr how far a piece of work has come; call `.update(amount)` on the yielded object.

    A line that changes on a terminal; elsewhere a line every 15 seconds and one at the end.

    Args:
        total: units of work in all, `initial` included.
        initial: units done before this process started, e.g. by a training run that is resumed. They do not count
            toward the rate.
        later_s: seconds that later stages of the pipeline will take; the time left is then that of the pipeline.
    """
    if part := getattr(_share, "part", None):
        yield _Inside(part, total)
        return
    line = _Line(description, total, unit, initial, later_s)
    yield line
    line.show("\n")


@contextmanager
def progress_together(description: str, total: float) -> Iterator[Together]:
    """Show tasks that run at the same time in one line: in each, call `.task(cost)`; the costs add up to `total`."""
    line = _Line(description, total, "", 0, 0)
    yield Together(line)
    line.show("\n")
