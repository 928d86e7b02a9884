"""Stage evaluate: every score of the samples beside its value for real data, and the report."""

from pathlib import Path

import torch

from dcgan.errors import exit_on_user_error
from dcgan.evaluation import Digits, Evaluation, Settings, evaluate
from dcgan.features import Ruler, load_ruler
from dcgan.figures import png
from dcgan.files import write_atomic, write_json
from dcgan.mnist import load_split, read_idx
from dcgan.params import load_params
from dcgan.publisher import publishing
from dcgan.report import page
from dcgan.score_figures import closest_pairs, real_beside_generated
from dcgan.store import root_folder
from dcgan.workspace import tell_evaluation

SAMPLES = Path("samples")
METRICS = Path("metrics")


@exit_on_user_error
def main() -> None:
    params = load_params()
    settings = params.evaluate
    torch.set_num_threads(1)  # what is worth it runs in lanes (dcgan.lanes); so no score depends on the cores
    train, test = (Digits(*load_split("data/raw", split)) for split in ("train", "test"))
    labels = read_idx(SAMPLES / "labels-idx1-ubyte") if params.model.conditional else None
    samples = Digits(read_idx(SAMPLES / "images-idx3-ubyte"), labels)
    ruler = load_ruler()
    cache = root_folder() / ".dcgan" / "cache" if settings.inception else None
    result = evaluate(samples, train, test, ruler, Settings(settings.seed, settings.images, cache))
    protocol = result.protocol | {"sample_seed": params.sample.seed, "class_mix": params.sample.class_mix}
    scores = {**result.scores, "protocol": protocol}
    write_pictures(result, samples, train, test, ruler)
    write_json(METRICS / "evaluate.json", scores)
    write_atomic(METRICS / "report.html", page(scores, Path()).encode())
    with publishing(root_folder()):
        tell_evaluation(root_folder(), Path(), params.model_dump())


def write_pictures(result: Evaluation, samples: Digits, train: Digits, test: Digits, ruler: Ruler) -> None:
    count = len(result.digits)
    generated = samples.images[:count]
    digits = result.digits if samples.labels is None else samples.labels[:count]
    beside = real_beside_generated(test.images, test.labels, generated, digits)
    pairs = closest_pairs(generated, result.nearest, train.images, test.images, ruler.record["closest_pairs"])
    write_atomic(METRICS / "figures" / "real_beside_generated.png", png(beside))
    write_atomic(METRICS / "figures" / "nearest_training.png", png(pairs))


if __name__ == "__main__":
    main()
