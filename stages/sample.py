"""Stage sample: generated digits in MNIST's own format, a grid, and a walk through latent space."""

from pathlib import Path

import numpy as np

from dcgan.data.mnist import write_idx
from dcgan.images import digit_grid, grid, png
from dcgan.params import load_params
from dcgan.paths import GENERATOR, SAMPLE_GRID, SAMPLE_IMAGES, SAMPLE_LABELS, SAMPLE_WALK, root_folder
from dcgan.stage_times import seconds_after_sampling
from dcgan.support.errors import exit_on_user_error
from dcgan.support.files import write_atomic
from dcgan.support.progress import progress
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.sender import publishing
from dcgan.tracking.stage_outputs import log_samples

GRID_COLUMNS = 20  # digits of each label
WALK_STEPS = 20  # images from one latent to the other


@exit_on_user_error
def main() -> None:
    params = load_params()  # torch takes seconds to import: a mistake in params.yaml is reported before
    import torch

    from dcgan.gan.model_files import load_network
    from dcgan.gan.sampling import generate, label_sequence, latent_walk, latents

    settings = params.sample
    torch.set_num_threads(settings.threads)
    generator = load_network(GENERATOR, "generator")
    z = latents(settings.count, generator.arguments["latent_size"], settings.seed)
    labels = label_sequence(settings.count, settings.class_mix, settings.seed) if generator.conditional else None
    with progress("sample", settings.count, "digits", later_s=seconds_after_sampling(params)) as bar:
        images = generate(generator, z, labels, bar.update)
    walk = latent_walk(generator, settings.seed, WALK_STEPS)
    write_samples(images, None if labels is None else labels.to(torch.uint8).numpy(), walk)
    with publishing(root_folder()):
        log_samples(PIPELINE, root_folder(), Path(), params.model_dump())


def write_samples(images: np.ndarray, labels: np.ndarray | None, walk: np.ndarray) -> None:
    write_idx(SAMPLE_IMAGES, images)
    if labels is not None:
        write_idx(SAMPLE_LABELS, labels)
    write_atomic(SAMPLE_GRID, png(grid(digit_grid(images, labels, GRID_COLUMNS), GRID_COLUMNS)))
    write_atomic(SAMPLE_WALK, png(grid(walk, WALK_STEPS)))


if __name__ == "__main__":
    main()
