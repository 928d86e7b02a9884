"""Stage sample: digits in MNIST's own format, a grid and a walk through the latent space."""

from pathlib import Path

import torch

from dcgan.data.mnist import write_idx
from dcgan.gan.model_files import load_network
from dcgan.gan.sampling import generate, label_sequence, latent_walk, latents
from dcgan.images import digit_grid, grid, png
from dcgan.params import load_params
from dcgan.paths import GENERATOR, SAMPLE_GRID, SAMPLE_IMAGES, SAMPLE_LABELS, SAMPLE_WALK, root_folder
from dcgan.support.errors import exit_on_user_error
from dcgan.support.files import write_atomic
from dcgan.support.progress import progress
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.sender import publishing
from dcgan.tracking.stage_outputs import log_samples

GRID_COLUMNS = 20
WALK_STEPS = 20


@exit_on_user_error
def main() -> None:
    params = load_params()
    settings = params.sample
    torch.set_num_threads(settings.threads)
    generator = load_network(GENERATOR, "generator")
    z = latents(settings.count, generator.arguments["latent_size"], settings.seed)
    asked = label_sequence(settings.count, settings.class_mix, settings.seed) if generator.conditional else None
    with progress("sample", settings.count, "digits") as bar:
        images = generate(generator, z, asked, bar.update)
    write_idx(SAMPLE_IMAGES, images)
    labels = None if asked is None else asked.to(torch.uint8).numpy()
    if labels is not None:
        write_idx(SAMPLE_LABELS, labels)
    write_atomic(SAMPLE_GRID, png(grid(digit_grid(images, labels, GRID_COLUMNS), GRID_COLUMNS)))
    walk = latent_walk(generator, settings.seed, WALK_STEPS)
    write_atomic(SAMPLE_WALK, png(grid(walk, WALK_STEPS)))
    with publishing(root_folder()):
        log_samples(PIPELINE, root_folder(), Path(), params.model_dump())


if __name__ == "__main__":
    main()
