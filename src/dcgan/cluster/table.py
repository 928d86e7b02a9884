"""The state of a sweep: a table that is redrawn on a terminal, a line for each change elsewhere."""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dcgan.cluster.grid import Experiment

REDRAW_S = 1.0
ENDED = ("done", "failed")


@dataclass(frozen=True)
class Row:
    state: str
    node: str = ""
    score: str = ""


class Table:
    def __init__(self, experiments: Sequence[Experiment], score: str) -> None:
        """`score`: name of the value that finished runs are compared by; lower is better."""
        self._rows = {experiment: Row("") for experiment in experiments}
        self._score = score
        self._is_live = sys.stderr is not None and sys.stderr.isatty()
        self._drawn_lines, self._drawn_at, self._started = 0, 0.0, time.monotonic()
        self._done_before = 0

    def set(self, experiment: Experiment, row: Row) -> None:
        before = self._rows[experiment]
        self._rows[experiment] = row
        if not self._is_live and _first_word(row) != _first_word(before) and row.state:
            details = " ".join(filter(None, [row.state, row.node and f"on {row.node}", row.score]))
            self._write(f"{experiment.label}: {details}\n")

    def mark_done(self, experiment: Experiment, score: str) -> None:
        """It was finished by an earlier call."""
        self._rows[experiment] = Row("done", score=score)
        self._done_before += 1

    def show(self) -> None:
        if self._is_live and time.monotonic() - self._drawn_at >= REDRAW_S:
            self._draw()

    def close(self) -> None:
        if self._is_live:
            self._draw()
        else:
            self._write(f"{self.summary()}\n")

    def summary(self) -> str:
        states = [row.state for row in self._rows.values()]
        done, failed = states.count("done"), states.count("failed")
        parts = [f"{done} of {len(states)} done", f"{failed} failed" if failed else ""]
        scores = {experiment: row.score for experiment, row in self._rows.items() if row.score}
        if scores:
            best = min(scores, key=lambda experiment: float(scores[experiment]))
            parts.append(f"best {self._score} {scores[best]} ({best.label})")
        return ", ".join(filter(None, [*parts, self._time_left(done)]))

    def _time_left(self, done: int) -> str:
        made, left = done - self._done_before, sum(row.state not in ENDED for row in self._rows.values())
        if not made or not left:
            return ""
        return f"about {duration((time.monotonic() - self._started) / made * left)} left"

    def _draw(self) -> None:
        size = shutil.get_terminal_size()
        running = [item for item in self._rows.items() if item[1].state and item[1].state not in ENDED]
        ended = [item for item in self._rows.items() if item[1].state in ENDED]
        room = max(size.lines - 4, 1)
        shown = [*ended[-max(room - len(running), 0) :], *running][-room:]
        width = max((len(experiment.label) for experiment, _ in shown), default=0)
        lines = [f"{e.label:<{width}}  {row.node:<15}  {row.state:<28}  {row.score}" for e, row in shown]
        lines.append(self.summary())
        up = f"\x1b[{self._drawn_lines}F" if self._drawn_lines else ""
        self._write(f"{up}\x1b[J" + "".join(f"{line[: size.columns - 1]}\n" for line in lines))
        self._drawn_lines, self._drawn_at = len(lines), time.monotonic()

    def _write(self, text: str) -> None:
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()


def _first_word(row: Row) -> str:
    return row.state.partition(" ")[0]


def duration(seconds: float) -> str:
    """As 45 s, 12 min or 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
