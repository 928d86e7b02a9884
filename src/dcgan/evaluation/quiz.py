"""A quiz for the eye: pairs of a real and a generated digit of the same label, unlabeled, and the key at the end."""

import base64
from typing import NamedTuple

import numpy as np
from jinja2 import Environment
from scipy.stats import binomtest

from dcgan.images import png, side_by_side
from dcgan.support.errors import UserError

PAIRS = 40

PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Which digit is generated?</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1.5rem; padding-left: 2rem }
img { width: 272px; image-rendering: pixelated }
</style></head><body>
<h1>Which digit is generated?</h1>
<p>One digit of each pair is from MNIST's test set, the other from the generator. For each pair note L if the left one
is generated, R if it is the right one.</p>
<ol>
{% for picture in pictures %}
<li><img alt="pair {{ loop.index }}" src="data:image/png;base64,{{ picture }}"></li>
{% endfor %}
</ol>
<p>Count your answers: <code>dcgan quiz --seed {{ seed }} --answers {{ "L" * pictures|length }}</code></p>
<details><summary>Key: the generated digits</summary><p>{{ key }}</p></details>
</body></html>
""")


class Quiz(NamedTuple):
    left: np.ndarray  # uint8 [40, 28, 28]
    right: np.ndarray  # uint8 [40, 28, 28]
    key: str  # a letter for each pair, L or R: the side of the generated digit


def quiz_key(seed: int) -> str:
    """The sides of the generated digits. They depend on nothing else: answers can be counted without the images."""
    return "".join(np.random.default_rng((seed, 0)).choice(["L", "R"], PAIRS))


def make_quiz(
    real: np.ndarray, real_labels: np.ndarray, generated: np.ndarray, generated_labels: np.ndarray, seed: int
) -> Quiz:
    """Choose pairs of the same label at random; no image occurs twice.

    Args:
        real, generated: uint8 [N, 28, 28].
        real_labels, generated_labels: integers [N].

    Raises:
        UserError: there are too few images of the same label.
    """
    rng = np.random.default_rng((seed, 1))
    pairs = []
    for label in np.union1d(real_labels, generated_labels):
        sides = [rng.permutation(np.flatnonzero(labels == label)) for labels in (real_labels, generated_labels)]
        pairs += zip(*sides, strict=False)
    if len(pairs) < PAIRS:
        raise UserError(f"only {len(pairs)} pairs of the same label can be made of the samples; {PAIRS} are needed")
    real_rows, generated_rows = rng.permutation(np.array(pairs))[:PAIRS].T
    key = quiz_key(seed)
    generated_left = np.array([*key])[:, None, None] == "L"
    sides = real[real_rows], generated[generated_rows]
    return Quiz(np.where(generated_left, *sides[::-1]), np.where(generated_left, *sides), key)


def quiz_page(quiz: Quiz, seed: int) -> str:
    """The pairs as one HTML page, each pixel four by four, and the key, folded up, at the end."""
    pictures = [base64.b64encode(png(side_by_side(pair))).decode() for pair in zip(quiz.left, quiz.right, strict=True)]
    key = " ".join(f"{number}{side}" for number, side in enumerate(quiz.key, 1))
    return PAGE.render(pictures=pictures, seed=seed, key=key)


def parse_answers(text: str) -> str:
    """The letters of "lrl R..." in upper case; spaces and commas are ignored.

    Raises:
        UserError: not one letter for each pair, or another one than L and R.
    """
    answers = "".join(text.replace(",", " ").split()).upper()
    if wrong := sorted(set(answers) - {"L", "R"}):
        raise UserError(f"the answers contain {', '.join(map(repr, wrong))}; allowed are L and R, one for each pair")
    if len(answers) != PAIRS:
        raise UserError(f"{len(answers)} answers for {PAIRS} pairs; give one for each, and guess where you cannot tell")
    return answers


def result(answers: str, key: str) -> str:
    """How often the generated digit was found, with the exact 95 % interval (Clopper and Pearson 1934)."""
    right = sum(answer == side for answer, side in zip(answers, key, strict=True))
    interval = binomtest(right, len(key)).proportion_ci(0.95, method="exact")
    fraction, low, high = (f"{value:.0%}" for value in (right / len(key), interval.low, interval.high))
    return f"{right} of {len(key)} found: {fraction}, 95 % interval {low} to {high}; 50 %: indistinguishable"
