"""The one exception for what a user can mend, and how a process ends with it."""

import functools
import os
import sys
from collections.abc import Callable

READER_GONE = 141  # what a shell reports of a program that wrote into `| head` after head had left


class UserError(Exception):
    """A mistake or a state of the machine that the user can mend.

    The message is one line: what is wrong, with what value, what is allowed and what to do.
    """

    exit_code = 2


def exit_on_user_error(main: Callable[..., int | None]) -> Callable[..., None]:
    """Wrap an entry point: no traceback for a `UserError`, which becomes one line on stderr and its exit code, nor for
    a reader of the output that has left (`| head`)."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        try:
            code = main(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
            code = READER_GONE
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            code = error.exit_code
        sys.exit(code or 0)

    return wrapped
