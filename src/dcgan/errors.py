"""The one exception for what a user can mend, and how a process ends with it."""

import functools
import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake or a state of the machine that the user can mend.

    The message is one line: what is wrong, with what value, what is allowed and what to do.
    """

    exit_code = 2


def exit_on_user_error(main: Callable[..., int | None]) -> Callable[..., None]:
    """Wrap an entry point: a `UserError` becomes one line on stderr and its exit code, no traceback."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        try:
            code = main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            code = error.exit_code
        sys.exit(code or 0)

    return wrapped
