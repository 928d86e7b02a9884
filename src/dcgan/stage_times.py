"""About how long the later stages take on two cores, for the time left in a progress line."""

from dcgan.params import Params

START_S = 8.0  # DVC between two stages, and the imports
SAMPLE_S, CLASSIFY_S = 0.0002, 0.0006  # for each of sample.count digits
COMPARE_S = 0.005  # for each of evaluate.images
INCEPTION_S = 0.15  # the same, if evaluate.inception


def seconds_after_training(params: Params) -> float:
    return START_S + SAMPLE_S * params.sample.count + seconds_after_sampling(params)


def seconds_after_sampling(params: Params) -> float:
    evaluation = CLASSIFY_S * params.sample.count + COMPARE_S * params.evaluate.images
    return START_S + evaluation + INCEPTION_S * params.evaluate.images * params.evaluate.inception
