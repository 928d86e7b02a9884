"""Does generated data help a classifier that has few real digits?

For each number of real digits a class and each seed, a generator with the settings of params.yaml is trained on those
digits alone and generates 30,000. Classifiers are then trained on the real digits only, and on real and generated ones
half and half, each with and without random shifts by 2 pixels: all on 60,000 images, so none gets more steps, and all
tested on MNIST's test set.

    python benchmarks/augmentation.py --seeds 1 2 3 --update docs/scores.md
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dcgan.constants import CLASSES
from dcgan.data.mnist import load_split
from dcgan.evaluation.classifier import Recipe, accuracy, fit
from dcgan.evaluation.evaluate import Digits
from dcgan.evaluation.report import between_markers
from dcgan.evaluation.threads import run_in_threads
from dcgan.gan import device as hardware
from dcgan.gan.sampling import generate, label_sequence, latents
from dcgan.gan.trainer import Trainer
from dcgan.params import ModelParams, TrainParams, load_params
from dcgan.paths import RAW_DATA
from dcgan.support.errors import UserError, exit_on_user_error
from dcgan.support.files import write_atomic
from dcgan.support.progress import progress

GENERATED = 30_000
TRAINED_ON = 60_000  # images, for each classifier
RECIPES = {"none": Recipe(epochs=1), "shifts": Recipe(epochs=1, shift=2)}
MARKER = "augmentation table"


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--per-class", type=int, nargs="+", default=[10, 100, 1_000], help="numbers of real digits of each class"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--gan-images", type=int, default=120_000, help="training budget of each generator")
    parser.add_argument("--update", type=Path, help="put the table into this Markdown file, between its markers")
    args = parser.parse_args()
    hardware.keep_freed_memory()
    params = load_params()
    if not params.model.conditional:
        raise UserError(
            "model.conditional is false, but a classifier cannot learn from digits without labels; set it true"
        )
    train, test = (Digits(*load_split(RAW_DATA, split)) for split in ("train", "test"))
    errors = np.empty((len(args.seeds), len(args.per_class), len(RECIPES), 2))
    for i, seed in enumerate(args.seeds):  # outermost: what is finished when it is stopped covers all numbers of digits
        settings = params.train.model_copy(update={"images": args.gan_images, "seed": seed, "workers": 1})
        for j, per_class in enumerate(args.per_class):
            errors[i, j] = one_seed(real_digits(train, per_class, seed), test, params.model, settings)
            print(f"seed {seed}, {per_class} a class: errors {errors[i, j].tolist()}", flush=True)
    text = table(args.per_class, errors, args.gan_images)
    if args.update:
        write_atomic(args.update, between_markers(args.update.read_text(), MARKER, text).encode())
    print(text)


def table(per_class: list[int], errors: np.ndarray, budget: int) -> str:
    """Markdown, from errors (seeds, numbers of digits, recipes, 2), 0 to 1."""
    lines = [
        f"Test error in percent, mean ± standard deviation over {len(errors)} seed(s); generators trained for "
        f"{budget:,} images.",
        "",
        "| real digits a class | augmentation | real only | real and generated | difference |",
        "|---|---|---|---|---|",
    ]
    for j, number in enumerate(per_class):
        for k, augmentation in enumerate(RECIPES):
            real, both = 100 * errors[:, j, k].T  # (seeds,) each
            cells = (spread(real), spread(both), spread(both - real, "+"))
            lines.append(f"| {number:,} | {augmentation} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def real_digits(train: Digits, per_class: int, seed: int) -> Digits:
    """`per_class` digits of each class, chosen by `seed`; those of a smaller number are among those of a larger."""
    order = np.random.default_rng(seed).permutation(len(train.labels))
    return train.rows(np.concatenate([order[train.labels[order] == digit][:per_class] for digit in range(CLASSES)]))


def one_seed(known: Digits, test: Digits, model: ModelParams, settings: TrainParams) -> np.ndarray:
    """Errors of the four classifiers, 0 to 1: (recipes, 2), real only and real and generated."""
    generated = generated_digits(known, model, settings)
    real_only = repeated(known, TRAINED_ON)
    half = repeated(known, TRAINED_ON - GENERATED)
    both = Digits(*(np.concatenate(parts) for parts in zip(half, generated, strict=True)))
    tasks = [
        partial(error, data, test, recipe, settings.seed) for recipe in RECIPES.values() for data in (real_only, both)
    ]
    return np.array(run_in_threads(tasks)).reshape(len(RECIPES), 2)


def generated_digits(known: Digits, model: ModelParams, settings: TrainParams) -> Digits:
    """30,000 labeled digits from a generator trained on `known` alone."""
    device = hardware.resolve_device()
    settings = settings.model_copy(update={"precision": hardware.resolve_precision(settings.precision, device)})
    images, labels = torch.from_numpy(known.images), torch.from_numpy(known.labels)
    trainer = Trainer(model, settings, images, labels, device)
    with progress(f"generator of {len(images):,}, seed {settings.seed}", settings.images, "images") as bar:
        while trainer.step_count < trainer.steps:
            trainer.step()
            bar.update(settings.batch_size)
    requested = label_sequence(GENERATED, "balanced", settings.seed)
    z = latents(GENERATED, model.latent_size, settings.seed)
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
