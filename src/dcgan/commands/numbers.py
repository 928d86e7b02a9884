"""Whole numbers on the command line."""

import argparse


def whole_number(text: str) -> int:
    """60000, 60_000 or 6e4; the type of an argument.

    Raises:
        ArgumentTypeError: it is none of them.
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
        if number.is_integer() and abs(number) < 1e15:
            return int(number)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, such as 60000 or 6e4")
