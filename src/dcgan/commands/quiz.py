"""`dcgan quiz`: can you tell the generated digit from the real one? A page of 40 pairs; your answers are counted."""

import argparse
import secrets
import sys
from pathlib import Path

import numpy as np

from dcgan.commands.numbers import whole_number
from dcgan.data.mnist import load_split, read_idx
from dcgan.evaluation.quiz import make_quiz, parse_answers, quiz_key, quiz_page, result
from dcgan.paths import QUIZ, RAW_DATA, SAMPLE_IMAGES, SAMPLE_LABELS, user_path
from dcgan.support.errors import UserError
from dcgan.support.files import write_atomic

LARGEST_SEED = 2**31 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=whole_number, help="selects the pairs and their sides (default: another one each time)"
    )
    parser.add_argument("-o", "--output", type=user_path, default=QUIZ, help=f"HTML page to write (default: {QUIZ})")
    parser.add_argument("--answers", help="only count these answers, L or R for each pair of the quiz with that --seed")


def run(args: argparse.Namespace) -> None:
    if args.seed is not None and not 0 <= args.seed <= LARGEST_SEED:
        raise UserError(f"--seed is {args.seed}; allowed are 0 to {LARGEST_SEED}")
    if args.answers is not None:
        if args.seed is None:
            raise UserError("--answers needs the --seed of the quiz that they belong to; it is at the end of its page")
        print(result(parse_answers(args.answers), quiz_key(args.seed)))
        return
    seed = secrets.randbelow(LARGEST_SEED + 1) if args.seed is None else args.seed
    _write(args.output, seed)
    print(
        f"{args.output.resolve()}\nseed {seed}; to count your answers later: dcgan quiz --seed {seed} --answers LRL..."
    )
    if sys.stdin is not None and sys.stdin.isatty():
        _ask(seed)


def _write(output: Path, seed: int) -> None:
    if not output.parent.is_dir():
        raise UserError(f"--output is {output}, but there is no folder {output.parent}; create it or choose another")
    if not SAMPLE_IMAGES.exists():
        raise UserError(f"there are no digits in {SAMPLE_IMAGES}; make them with `make repro` or `dvc pull`")
    generated = read_idx(SAMPLE_IMAGES)
    quiz = make_quiz(*load_split(RAW_DATA, "test"), generated, _labels(generated), seed)
    write_atomic(output, quiz_page(quiz, seed).encode())


def _labels(generated: np.ndarray) -> np.ndarray:
    """The requested labels; of digits drawn without labels, those that the feature extractor sees."""
    if SAMPLE_LABELS.exists():
        return read_idx(SAMPLE_LABELS)
    from dcgan.evaluation.feature_extractor import load_feature_extractor

    return load_feature_extractor().features_and_labels(generated)[1].numpy()


def _ask(seed: int) -> None:
    """Count the answers that are typed in; an empty line or the end of input leaves them for later."""
    while True:
        try:
            typed = input("Which one is generated? L or R for each pair, in one line (empty: later): ")
        except EOFError:
            print()
            return
        if not typed.strip():
            return
        try:
            print(result(parse_answers(typed), quiz_key(seed)))
            return
        except UserError as error:
            print(error)
