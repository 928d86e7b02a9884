"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

PLAIN_LINE_EVERY_S = 15.0


class _PlainLines:
    """What `tqdm` shows, as lines a log file can hold."""

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
        share = 100 * self.done / max(self.total, 1)
        print(
            f"{self.description}: {self.done:,}/{self.total:,} {self.unit} ({share:.0f} %), {rate:,.0f}/s{self.note}",
            file=sys.stderr,
            flush=True,
        )


@contextmanager
def progress(description: str, total: int, unit: str, initial: int = 0) -> Iterator[tqdm | _PlainLines]:
    """Show how far a piece of work is; call `.update(amount)` on what is yielded.

    On a terminal a bar; otherwise a line each 15 seconds and one at the end.
    """
    if sys.stderr.isatty():
        with tqdm(desc=description, total=total, unit=f" {unit}", unit_scale=True, initial=initial) as bar:
            yield bar
        return
    lines = _PlainLines(description, total, unit, initial)
    yield lines
    lines.print_line()
