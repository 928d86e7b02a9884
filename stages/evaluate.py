"""Stage evaluate: every score of the samples beside its value for real data, the pictures and the report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcgan.data.mnist import load_split, read_idx
from dcgan.evaluation.report import html_page
from dcgan.images import png
from dcgan.params import ModelParams, load_params
from dcgan.paths import (
    HEADLINE_SCORES,
    NEAREST_TRAINING,
    RAW_DATA,
    REAL_BESIDE_GENERATED,
    REPORT,
    SAMPLE_IMAGES,
    SAMPLE_LABELS,
    SCORES_FILE,
    TRAIN_METRICS,
    download_cache,
    root_folder,
)
from dcgan.scores import HEADLINE
from dcgan.support.errors import UserError, exit_on_user_error
from dcgan.support.files import read_json, write_atomic, write_json
from dcgan.tracked_outputs import PIPELINE
from dcgan.tracking.sender import publishing
from dcgan.tracking.stage_outputs import log_evaluation

if TYPE_CHECKING:
    from dcgan.evaluation.evaluate import Digits, Evaluation
    from dcgan.evaluation.feature_extractor import FeatureExtractor

RESOLVED = ("seed", "images", "conditional", "device", "precision", "workers")  # as the train stage resolved them


@exit_on_user_error
def main() -> None:
    params = load_params()
    settings = params.evaluate
    training = training_context(params.model)
    real = [load_split(RAW_DATA, split) for split in ("train", "test")]
    images, labels = read_idx(SAMPLE_IMAGES), read_idx(SAMPLE_LABELS) if params.model.conditional else None
    import torch  # these take seconds to import: a mistake in a file is reported before

    from dcgan.evaluation.evaluate import Digits, Settings, evaluate
    from dcgan.evaluation.feature_extractor import load_feature_extractor
    from dcgan.gan.device import keep_freed_memory

    keep_freed_memory()  # the classifiers train a fifth faster
    torch.set_num_threads(1)  # dcgan.evaluation.threads works in parallel, so that no score depends on the cores
    train, test, samples = (Digits(*digits) for digits in (*real, (images, labels)))
    extractor = load_feature_extractor()
    cache = download_cache(root_folder()) if settings.inception else None
    result = evaluate(samples, train, test, extractor, Settings(settings.seed, settings.images, cache))
    protocol = result.protocol | {"sample_seed": params.sample.seed, "class_mix": params.sample.class_mix}
    scores = {**result.scores, "protocol": protocol, "training": training}
    write_pictures(result, samples, train, test, extractor)
    write_json(SCORES_FILE, scores)
    write_json(HEADLINE_SCORES, {key: scores[key] for key in HEADLINE if key in scores})
    write_atomic(REPORT, html_page(scores, Path()).encode())
    with publishing(root_folder()):
        log_evaluation(PIPELINE, root_folder(), Path(), params.model_dump())


def training_context(model: ModelParams) -> dict[str, Any]:
    """How the generator was trained. It goes into the scores file, which may be copied and compared on its own.

    Raises:
        UserError: train.json is missing, or another version wrote it.
    """
    trained = read_json(TRAIN_METRICS)
    missing = [key for key in RESOLVED if not isinstance(trained, dict) or key not in trained]
    if missing:
        raise UserError(f"{TRAIN_METRICS} has no {', '.join(missing)}; run `dvc repro` to train again")
    return model.model_dump() | {key: trained[key] for key in RESOLVED}


def write_pictures(
    result: "Evaluation", samples: "Digits", train: "Digits", test: "Digits", extractor: "FeatureExtractor"
) -> None:
    from dcgan.evaluation.plots import closest_pairs, real_beside_generated

    count = len(result.predicted)
    generated = samples.images[:count]
    labels = result.predicted if samples.labels is None else samples.labels[:count]
    beside = real_beside_generated(test.images, test.labels, generated, labels)
    pairs = closest_pairs(generated, result.nearest, train.images, test.images, extractor.metadata["closest_pairs"])
    write_atomic(REAL_BESIDE_GENERATED, png(beside))
    write_atomic(NEAREST_TRAINING, png(pairs))


if __name__ == "__main__":
    main()
