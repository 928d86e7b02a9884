"""Does generated data help a classifier that has few real digits?

For each number of real images and each seed, a generator is trained on those images alone and generates 60,000 digits.
Classifiers are then trained on the real images only, and on real and generated ones half and half, each with and
without random shifts by 2 pixels: all on 120,000 images, so none gets more steps, and all tested on MNIST's test set.

    python benchmarks/augmentation.py --seeds 1 2 3 --update docs/scores.md       (33 minutes of CPU time)
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dcgan.data.mnist import load_split
from dcgan.evaluation.classifier import Recipe, accuracy, fit
from dcgan.evaluation.evaluate import Digits
from dcgan.evaluation.report import between_markers
from dcgan.evaluation.threads import run_in_threads
from dcgan.gan import device as hardware
from dcgan.gan.sampling import generate, label_sequence, latents
from dcgan.gan.trainer import Trainer
from dcgan.params import Params, load_params
from dcgan.paths import RAW_DATA
from dcgan.support.errors import UserError, exit_on_user_error
from dcgan.support.files import write_atomic
from dcgan.support.progress import progress

GENERATED = 60_000
TRAINED_ON = 120_000  # images, for each classifier
RECIPES = {"none": Recipe(epochs=1), "shifts": Recipe(epochs=1, shift=2)}
MARKER = "augmentation table"


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000], help="numbers of real images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--gan-images", type=int, default=120_000, help="training budget of each generator")
    parser.add_argument("--update", type=Path, help="put the table into this Markdown file, between its markers")
    args = parser.parse_args()
    params = load_params()
    if not params.model.conditional:
        raise UserError(
            "model.conditional is false, but a classifier cannot learn from digits without labels; set it true"
        )
    train, test = (Digits(*load_split(RAW_DATA, split)) for split in ("train", "test"))
    lines = [
        f"Test error in percent, mean ± standard deviation over {len(args.seeds)} seed(s); generators trained for "
        f"{args.gan_images:,} images.",
        "",
        "| real images | augmentation | real only | real and generated | difference |",
        "|---|---|---|---|---|",
    ]
    for size in args.sizes:
        errors = np.array([one_seed(train, test, params, size, seed, args.gan_images) for seed in args.seeds])
        for row, augmentation in enumerate(RECIPES):
            real, both = 100 * errors[:, row].T  # [seeds] each
            cells = (spread(real), spread(both), spread(both - real, "+"))
            lines.append(f"| {size:,} | {augmentation} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    table = "\n".join(lines) + "\n"
    if args.update:
        write_atomic(args.update, between_markers(args.update.read_text(), MARKER, table).encode())
    print(table)


def one_seed(train: Digits, test: Digits, params: Params, size: int, seed: int, budget: int) -> np.ndarray:
    """Errors of the four classifiers, 0..1: [recipe, (real only, real and generated)]."""
    known = train.rows(np.random.default_rng(seed).permutation(len(train.images))[:size])
    generated = generated_digits(known, params, seed, budget)
    real_only = repeated(known, TRAINED_ON)
    half = repeated(known, TRAINED_ON - GENERATED)
    both = Digits(*(np.concatenate(parts) for parts in zip(half, generated, strict=True)))
    tasks = [partial(error, data, test, recipe, seed) for recipe in RECIPES.values() for data in (real_only, both)]
    return np.array(run_in_threads(tasks)).reshape(len(RECIPES), 2)


def generated_digits(known: Digits, params: Params, seed: int, budget: int) -> Digits:
    """60,000 labelled digits from a generator trained only on `known`."""
    device = hardware.resolve_device()
    precision = hardware.resolve_precision(params.train.precision, device)
    settings = params.train.model_copy(update={"images": budget, "seed": seed, "precision": precision})
    images, labels = torch.from_numpy(known.images), torch.from_numpy(known.labels)
    trainer = Trainer(params.model, settings, images, labels, device)
    with progress(f"generator of {len(known.images):,}, seed {seed}", budget, "images") as bar:
        while trainer.step_count < trainer.steps:
            trainer.step()
            bar.update(settings.batch_size)
    requested = label_sequence(GENERATED, "mnist", seed)
    z = latents(GENERATED, params.model.latent_size, seed)
    return Digits(generate(trainer.calibrated_ema_generator().cpu(), z, requested), requested.to(torch.uint8).numpy())


def repeated(digits: Digits, count: int) -> Digits:
    return digits.rows(np.resize(np.arange(len(digits.images)), count))


def error(data: Digits, test: Digits, recipe: Recipe, seed: int) -> float:
    """Test error, 0..1, of a classifier trained on `data`."""
    images, labels = (torch.from_numpy(part) for part in data)
    classifier = fit(images, labels, recipe, seed=seed, title="classifier")
    return 1 - accuracy(classifier, test.images, test.labels)


def spread(values: np.ndarray, sign: str = "") -> str:
    if len(values) == 1:
        return f"{values[0]:{sign}.2f}"
    return f"{values.mean():{sign}.2f} ± {values.std(ddof=1):.2f}"


if __name__ == "__main__":
    main()
