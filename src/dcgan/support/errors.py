"""The exception for problems that a user can fix, and how a process ends because of one."""

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import TextIO

BROKEN_PIPE_EXIT_CODE = 141  # 128 + SIGPIPE: what a shell reports for a program whose output `| head` stopped reading
CRASH_EXIT_CODE = 2  # not Python's usual 1: that is the verdict "regression" of `dcgan check`


class UserError(Exception):
    """A mistake, or a state of the machine, that the user can fix.

    The message is one line: what is wrong, with what value, what is allowed and what to do.
    """

    exit_code = 2


def exit_on_user_error(main: Callable[..., int | None]) -> Callable[..., None]:
    """Wrap an entry point so that expected endings print no traceback.

    A `UserError` becomes one line on stderr and its exit code. When the reader of stdout is gone (`| head`), the
    process ends silently with `BROKEN_PIPE_EXIT_CODE`. Any other exception prints its traceback and ends with
    `CRASH_EXIT_CODE`. What `main` returns is the exit code; None means 0.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        sys.exit(_flush_stdout(_exit_code(main, *args, **kwargs)))

    return wrapped


def print_to_stderr(message: str) -> None:
    """Print a message for the user, unless stderr is closed or cannot be written: the exit code remains."""
    if sys.stderr is None:
        return
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _exit_code(main: Callable[..., int | None], *args, **kwargs) -> int:
    try:
        return main(*args, **kwargs) or 0
    except BrokenPipeError:
        return BROKEN_PIPE_EXIT_CODE
    except UserError as error:
        print_to_stderr(f"error: {' '.join(str(error).splitlines())}")
        return error.exit_code
    except Exception as error:
        print_to_stderr(f"{traceback.format_exc()}error: unexpected {type(error).__name__}, see the traceback above")
        return CRASH_EXIT_CODE


def _flush_stdout(code: int) -> int:
    """The exit code, once all output is written; Python would replace it with 120 if the flush at exit failed."""
    if sys.stdout is None:
        return code
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
        return code or BROKEN_PIPE_EXIT_CODE
    except OSError as error:
        _discard(sys.stdout)
        if code == 0:
            print_to_stderr(f"error: cannot write the output: {error.strerror}; write it elsewhere, or free space")
            return UserError.exit_code
    return code


def _discard(stream: TextIO) -> None:
    """Send what the stream still holds to nowhere: Python flushes it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
