"""The exception for problems that a user can fix, and how a process ends because of one."""

import functools
import os
import sys
from collections.abc import Callable

BROKEN_PIPE_EXIT_CODE = 141  # 128 + SIGPIPE: what a shell reports for a program whose output `| head` stopped reading


class UserError(Exception):
    """A mistake, or a state of the machine, that the user can fix.

    The message is one line: what is wrong, with what value, what is allowed and what to do.
    """

    exit_code = 2


def exit_on_user_error(main: Callable[..., int | None]) -> Callable[..., None]:
    """Wrap an entry point so that expected endings print no traceback.

    A `UserError` becomes one line on stderr and its exit code. When the reader of stdout is gone (`| head`), the
    process ends silently with `BROKEN_PIPE_EXIT_CODE`. What `main` returns is the exit code; None means 0.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        try:
            code = main(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more at exit
            code = BROKEN_PIPE_EXIT_CODE
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            code = error.exit_code
        sys.exit(code or 0)

    return wrapped
