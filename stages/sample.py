"""Stage sample: digits in MNIST's own format, a grid and a walk through the latent space."""

from pathlib import Path

import torch

from dcgan.errors import exit_on_user_error
from dcgan.figures import digit_grid, grid, png
from dcgan.files import write_atomic
from dcgan.mnist import write_idx
from dcgan.models import load_network
from dcgan.params import load_params
from dcgan.progress import progress
from dcgan.publisher import publishing
from dcgan.sampling import generate, label_sequence, latent_walk, latents
from dcgan.store import root_folder
from dcgan.workspace import tell_samples

SAMPLES = Path("samples")
GRID_COLUMNS = 20
WALK_STEPS = 20


@exit_on_user_error
def main() -> None:
    params = load_params()
    settings = params.sample
    torch.set_num_threads(settings.threads)
    generator = load_network("models/generator.safetensors", "generator")
    z = latents(settings.count, generator.arguments["latent_size"], settings.seed)
    asked = label_sequence(settings.count, settings.class_mix, settings.seed) if generator.conditional else None
    with progress("sample", settings.count, "digits") as bar:
        images = generate(generator, z, asked, bar.update)
    write_idx(SAMPLES / "images-idx3-ubyte", images)
    labels = None if asked is None else asked.to(torch.uint8).numpy()
    if labels is not None:
        write_idx(SAMPLES / "labels-idx1-ubyte", labels)
    write_atomic(SAMPLES / "grid.png", png(grid(digit_grid(images, labels, GRID_COLUMNS), GRID_COLUMNS)))
    walk = latent_walk(generator, settings.seed, WALK_STEPS)
    write_atomic(SAMPLES / "walk.png", png(grid(walk, WALK_STEPS)))
    with publishing(root_folder()):
        tell_samples(root_folder(), Path(), params.model_dump())


if __name__ == "__main__":
    main()
