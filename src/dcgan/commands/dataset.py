"""`dcgan dataset`: labeled generated digits as a data set of any size, in MNIST's or another usual format."""

import argparse
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dcgan.commands.generators import add_generator_option, chosen_generator, load_conditional_generator
from dcgan.commands.numbers import whole_number
from dcgan.constants import CLASSES
from dcgan.paths import GENERATOR, READY_MADE_GENERATOR, READY_MADE_SCORES, SCORES_FILE, user_path
from dcgan.support.errors import UserError
from dcgan.support.files import read_json, read_yaml, sha256
from dcgan.support.lock import hold

MOST_DIGITS = 1_000_000_000
FORMATS = ("idx", "npz", "parquet", "png")  # the modules that write them need torch, and --help should not


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=user_path, required=True, help="folder: new, empty, or to be continued")
    parser.add_argument("--count", type=whole_number, default=60_000, help="digits to train on (default: 60000)")
    parser.add_argument(
        "--test-count", type=whole_number, default=10_000, help="digits of a test split (default: 10000)"
    )
    parser.add_argument("--format", choices=FORMATS, default="idx", help="idx: MNIST's own files (default)")
    parser.add_argument("--seed", type=whole_number, default=0, help="selects the handwriting (default: 0)")
    parser.add_argument(
        "--classes",
        type=whole_number,
        nargs="+",
        metavar="DIGIT",
        default=range(CLASSES),
        help="digits to draw (default: all)",
    )
    parser.add_argument(
        "--mix",
        choices=("balanced", "mnist"),
        default="balanced",
        help="equally many of each class (default), or as many as in MNIST's training set",
    )
    parser.add_argument(
        "--on",
        metavar="ADDRESS",
        help="of a Ray cluster that makes the digits, such as 10.0.0.1:6379 (docs/cluster.md); written here",
    )
    add_generator_option(parser)


def run(args: argparse.Namespace) -> None:
    classes = _check(args)
    path = chosen_generator(args)
    generator = load_conditional_generator(path)

    import torch

    from dcgan.dataset.build import build
    from dcgan.dataset.card import Origin, card
    from dcgan.dataset.digits import DigitSource
    from dcgan.dataset.formats import FORMATS as WRITERS
    from dcgan.dataset.shards import LOCK, check_folder, replace_file, shards_of
    from dcgan.support.stop_signals import stop_requests

    counts = {split: n for split, n in (("train", args.count), ("test", args.test_count)) if n}
    asked = {
        "count": args.count,
        "test-count": args.test_count,
        "format": args.format,
        "seed": args.seed,
        "classes": classes,
        "mix": args.mix,
        "generator": sha256(path),
    }
    machine = {"PyTorch": torch.__version__, "processor": torch.backends.cpu.get_cpu_capability()}
    check_folder(args.output)
    with hold(args.output / LOCK, "dcgan dataset"), stop_requests() as stop:
        source = DigitSource(generator, args.seed, tuple(classes), args.mix)
        map_shards = _map_on(args.on) if args.on else None
        build(args.output, asked, counts, source, WRITERS[args.format](args.output, counts), stop, map_shards)
        origin = Origin(_name(path), asked["generator"], _scores_of(path), machine)
        text = card(asked, counts, shards_of(counts)[0].name, origin)
        replace_file(args.output / "README.md", text.encode())
    print(args.output)


def _map_on(address: str) -> Callable:
    from dcgan.cluster.map_on_ray import map_on_cluster

    return partial(map_on_cluster, address)


def _check(args: argparse.Namespace) -> list[int]:
    """The classes in ascending order.

    Raises:
        UserError: an argument is out of range.
    """
    if not 1 <= args.count <= MOST_DIGITS:
        raise UserError(f"--count is {args.count}; allowed are 1 to {MOST_DIGITS:,}")
    least = 1 if args.format == "idx" else 0
    if not least <= args.test_count <= MOST_DIGITS:
        reason = " with --format idx, whose readers need all four files" if least else ""
        raise UserError(f"--test-count is {args.test_count}; allowed are {least} to {MOST_DIGITS:,}{reason}")
    if not 0 <= args.seed < 2**31:
        raise UserError(f"--seed is {args.seed}; allowed are 0 to {2**31 - 1}")
    classes = sorted(args.classes)
    if len(set(classes)) < len(classes) or not set(classes) <= set(range(CLASSES)):
        raise UserError(f"--classes is {' '.join(map(str, args.classes))}; allowed are digits 0 to 9, each once")
    return classes


def _name(path: Path) -> str:
    return "the ready-made generator of dcgan-mnist" if path == READY_MADE_GENERATOR else path.name


def _scores_of(path: Path) -> dict | None:
    """The scores of a generator, or None if those at hand may be another's.

    Those of the trained generator are in metrics/evaluate.json, if both are what dvc.lock says they are.
    """
    if path == READY_MADE_GENERATOR:
        return read_json(READY_MADE_SCORES) if READY_MADE_SCORES.exists() else None
    if path != GENERATOR or not Path("dvc.lock").exists():
        return None
    stages = read_yaml("dvc.lock").get("stages", {})
    outputs = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    unchanged = all(out.exists() and outputs.get(str(out)) == _md5(out) for out in (GENERATOR, SCORES_FILE))
    return read_json(SCORES_FILE) if unchanged else None


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
