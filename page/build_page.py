"""Build page/index.html, the page that draws numbers in a browser, from its sources and the ready-made generator.

    make page        from the repository's root; needs MNIST's test set in data/raw

The page is one file and loads nothing: weights, scores and some real digits are in it. It draws the same pixels as
`dcgan draw`. The same inputs give the same bytes.
"""

import base64
import hashlib
import html
import json
import re
from pathlib import Path

import numpy as np
import torch
from handwriting import find_directions

from dcgan.constants import CLASSES
from dcgan.data.mnist import load_split
from dcgan.gan.model_files import load_network
from dcgan.gan.networks import Generator
from dcgan.gan.rendering import DARKEST_WHITE
from dcgan.paths import RAW_DATA, READY_MADE_GENERATOR, READY_MADE_SCORES
from dcgan.scores import SCORES
from dcgan.support.errors import UserError, exit_on_user_error
from dcgan.support.files import read_json, write_atomic

SOURCES = Path(__file__).parent
PAGE = SOURCES / "index.html"
SCRIPTS = (
    "random.js",
    "generator.js",
    "rendering.js",
    "ink.js",
    "state.js",
    "files.js",
    "views.js",
    "quiz.js",
    "ui.js",
)
SHOWN_SCORES = ("relative_fid", "precision", "recall", "label_accuracy", "cas", "two_sample_28")
REAL_PER_DIGIT = 16  # the first of each label in the test set, not selected


@exit_on_user_error
def main() -> None:
    scores = read_json(READY_MADE_SCORES)
    torch.set_num_threads(1)
    generator = load_network(READY_MADE_GENERATOR, "generator")
    check(generator, scores)
    page = build(generator, find_directions(generator), *load_split(RAW_DATA, "test"), scores)
    write_atomic(PAGE, page.encode())
    print(f"{PAGE.relative_to(Path.cwd())}: {len(page.encode()) / 1e6:.2f} MB")


def check(generator: Generator, scores: dict) -> None:
    """Raises:
    UserError: the page cannot draw what this generator draws, or the scores are another generator's.
    """
    arguments = generator.arguments
    for name, needed in {"conditional": True, "canvas": True, "clusters_per_class": 1}.items():
        if arguments[name] != needed:
            raise UserError(
                f"the page draws with generators that have {name}: {needed}, but {READY_MADE_GENERATOR.name} has "
                f"{arguments[name]}; train one with model.{name}: {str(needed).lower()} in params.yaml"
            )
    for name, ours in {"latent_size": "latent_size", "generator_width": "width", "canvas": "canvas"}.items():
        if scores["training"].get(name) != arguments[ours]:
            raise UserError(
                f"the scores in {READY_MADE_SCORES} are of a generator with {name}: {scores['training'].get(name)}, "
                f"but {READY_MADE_GENERATOR.name} has {arguments[ours]}; evaluate that one, then `make ready-made`"
            )
    if inexact := [name for name, value in weights(generator).items() if not value.equal(value.half().float())]:
        raise UserError(
            f"{inexact[0]} of {READY_MADE_GENERATOR.name} has values that half precision cannot hold, and the page "
            "would draw other pixels; store the generator with weights rounded to fp16"
        )


def build(generator: Generator, directions: dict, images: np.ndarray, labels: np.ndarray, scores: dict) -> str:
    """The page.

    Args:
        generator: with canvas and labels, one cluster per label, and weights that fp16 holds.
        directions: as `handwriting.find_directions` returns them.
        images, labels: MNIST's test set, uint8 (N, 28, 28) and (N,).
        scores: of the generator, as in metrics/evaluate.json.
    """
    tensors = weights(generator)
    description = describe(generator, tensors)
    real = np.concatenate([images[labels == digit][:REAL_PER_DIGIT] for digit in range(CLASSES)])
    script = "\n".join((SOURCES / name).read_text() for name in SCRIPTS)
    style = (SOURCES / "style.css").read_text()
    parts = {
        "script": f'"use strict";\n{script}',
        "script_hash": csp_hash(f'"use strict";\n{script}'),
        "style": style,
        "style_hash": csp_hash(style),
        "model": data(description),
        "directions": data(directions),
        **{f"channels_{i}": str(count) for i, count in enumerate(description["channels"], start=1)},
        "weights": base64.b64encode(b"".join(value.half().numpy().tobytes() for value in tensors.values())).decode(),
        "real_digits": base64.b64encode(real.tobytes()).decode(),
        "real_per_digit": str(REAL_PER_DIGIT),
        "scores": score_rows(scores),
        "two_sample": f"{scores['two_sample_28']:.1%}".replace("%", " %"),
        "images": f"{scores['training']['images'] / 1e6:g} million",
        "weight_count": f"{sum(value.numel() for name, value in tensors.items() if 'running' not in name):,}",
        "latent_size": str(generator.arguments["latent_size"]),
    }
    template = (SOURCES / "template.html").read_text()
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def weights(generator: Generator) -> dict[str, torch.Tensor]:
    """The tensors that the page needs, by name."""
    state = generator.state_dict()
    return {name: value for name, value in state.items() if value.is_floating_point() and value.numel()}


def describe(generator: Generator, tensors: dict[str, torch.Tensor]) -> dict:
    """What generator.js must know besides the values of the weights."""
    return {
        "latent_size": generator.arguments["latent_size"],
        "selectors": generator.selectors,
        "channels": [
            generator.norm1.num_features,
            *(up.out_channels for up in (generator.up1, generator.up2, generator.up3)),
        ],
        "white_bounds": generator.rendering.white_bounds.tolist(),
        "darkest_white": DARKEST_WHITE,
        "tensors": [[name, list(value.shape)] for name, value in tensors.items()],
    }


def score_rows(scores: dict) -> str:
    rows = []
    for score in (score for key in SHOWN_SCORES for score in SCORES if score.key == key):
        values = [f"{scores[key]:{score.format}}".replace("%", " %") for key in (score.key, f"{score.key}_real")]
        title, question = html.escape(score.title), html.escape(score.question)
        rows.append(
            f'<tr><th scope="row">{title}<small>{question}</small></th><td>{values[0]}</td><td>{values[1]}</td></tr>'
        )
    return "\n".join(rows)


def data(value: object) -> str:
    """JSON inside a script element, which a "</" would end."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")


def csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


if __name__ == "__main__":
    main()
