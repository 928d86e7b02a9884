"""`dcgan draw`: a number in generated handwriting, as a PNG."""

import argparse
from pathlib import Path

from dcgan.commands.generators import add_generator_option, chosen_generator, load_conditional_generator
from dcgan.commands.numbers import whole_number
from dcgan.images import grid, png
from dcgan.paths import GENERATOR, READY_MADE_GENERATOR, user_path
from dcgan.support.errors import UserError, print_to_stderr
from dcgan.support.files import write_atomic

MOST_DIGITS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("digits", help="the digits to draw, for example 2026")
    parser.add_argument(
        "-o", "--output", type=user_path, default="digits.png", help="PNG to write (default: digits.png)"
    )
    parser.add_argument(
        "--seed",
        default="0",
        help="selects the handwriting; one for each digit, as in 7,7,12,7, draws single digits again (default: 0)",
    )
    parser.add_argument(
        "--count", type=whole_number, default=1, help="number of lines, each with all the digits (default: 1)"
    )
    parser.add_argument("--grid", action="store_true", help="draw lines between the digits")
    add_generator_option(parser)


def run(args: argparse.Namespace) -> None:
    _check_digits(args.digits, args.count)
    seeds = _parse_seeds(args.seed, len(args.digits))
    _check_output(args.output)
    file = chosen_generator(args)
    generator = load_conditional_generator(file)
    from dcgan.serving.drawing import draw, lines

    images = draw(generator, args.digits * args.count, seeds * args.count)
    columns = len(args.digits)
    picture = grid(images, columns) if args.grid else lines(images, columns)
    write_atomic(args.output, png(picture))
    print(args.output)
    if file == GENERATOR and not args.generator:
        print_to_stderr(
            f"drawn by the generator trained here, {GENERATOR}; the ready-made one: --generator {READY_MADE_GENERATOR}"
        )


def _check_digits(digits: str, count: int) -> None:
    if not (digits.isascii() and digits.isdigit()):
        raise UserError(f"{digits!r} is not a number; allowed are the digits 0 to 9, as in: dcgan draw 2026")
    if count < 1 or len(digits) * count > MOST_DIGITS:
        raise UserError(
            f"--count is {count}, with {len(digits)} digits a line; allowed are 1 to {MOST_DIGITS:,} digits in all"
        )


def _parse_seeds(text: str, digits: int) -> list[int]:
    """The seed of each digit of a line."""
    seeds = text.split(",")
    if not all(seed.isascii() and seed.isdigit() and len(seed) <= 10 and int(seed) < 2**31 for seed in seeds):
        raise UserError(f"--seed is {text}; allowed are 0 to {2**31 - 1}, and one for each digit as in 7,7,12,7")
    if len(seeds) not in (1, digits):
        raise UserError(f"--seed has {len(seeds)} seeds for {digits} digits; give one, or one for each digit")
    return [int(seed) for seed in seeds] * (digits if len(seeds) == 1 else 1)


def _check_output(output: Path) -> None:
    if output.suffix.lower() != ".png":
        raise UserError(f"--output is {output}, but only PNG is written; choose a name that ends in .png")
    if not output.parent.is_dir():
        raise UserError(f"--output is {output}, but there is no folder {output.parent}; create it or choose another")
