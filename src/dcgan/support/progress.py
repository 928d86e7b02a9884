"""Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

PLAIN_LINE_EVERY_S = 15.0


class _PlainLines:
    """The part of tqdm's interface used here, printed as whole lines that suit a log file."""

    def __init__(self, description: str, total: int, unit: str, initial: int) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.done = self.initial = initial
        self.started = self.printed = time.monotonic()
        self.note = ""

    def update(self, amount: int = 1) -> None:
        self.done += amount
        if time.monotonic() - self.printed >= PLAIN_LINE_EVERY_S:
            self.print_line()

    def set_postfix_str(self, note: str) -> None:
        self.note = f"  {note}"

    def print_line(self) -> None:
        self.printed = time.monotonic()
        rate = (self.done - self.initial) / max(self.printed - self.started, 1e-9)
        left = f", {_clock((self.total - self.done) / rate)} left" if rate and self.done < self.total else ""
        percent = 100 * self.done / max(self.total, 1)
        print(
            f"{self.description}: {self.done:,}/{self.total:,} {self.unit} ({percent:.0f} %), {rate:,.0f}/s{left}"
            f"{self.note}",
            file=sys.stderr,
            flush=True,
        )


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@contextmanager
def progress(description: str, total: int, unit: str, initial: int = 0) -> Iterator[tqdm | _PlainLines]:
    """Show on stderr how far a piece of work has come; call `.update(amount)` on the yielded object.

    A bar on a terminal; elsewhere a line every 15 seconds and one at the end.

    Args:
        total: units of work in all, `initial` included.
        initial: units done before this process started, e.g. by a training run that is resumed. They do not count
            toward the rate.
    """
    if sys.stderr.isatty():
        with tqdm(desc=description, total=total, unit=f" {unit}", unit_scale=True, initial=initial) as bar:
            yield bar
        return
    lines = _PlainLines(description, total, unit, initial)
    yield lines
    lines.print_line()
