"""The committed page is what `make page` makes, and generators that it could not draw are refused."""

import json
import re

import build_page
import pytest
from clones import ROOT
from generators import make_generator

from dcgan.data.mnist import load_split
from dcgan.gan.model_files import load_network
from dcgan.paths import READY_MADE_GENERATOR, READY_MADE_SCORES
from dcgan.support.errors import UserError
from dcgan.support.files import read_json

SCORES = {"training": {"latent_size": 16, "generator_width": 8, "canvas": True}}


def in_page(page: str, name: str) -> str:
    return re.search(rf'<script[^>]* id="{name}"[^>]*>(.*?)</script>', page, re.DOTALL)[1]


def test_the_committed_page_is_what_make_page_makes(mnist_dir):
    """The directions are found by sums whose last bits depend on the processor, so they are taken from the page; the
    browser tests compare them."""
    page = build_page.PAGE.read_text()
    scores = read_json(ROOT / READY_MADE_SCORES)
    generator = load_network(READY_MADE_GENERATOR, "generator")
    build_page.check(generator, scores)
    made = build_page.build(generator, json.loads(in_page(page, "directions")), *load_split(mnist_dir, "test"), scores)
    stale = made != page  # not compared in the assertion: pytest would take minutes to show where
    assert not stale, "page/index.html is older than what it is made from: run `make page` and commit it"
    assert len(page.encode()) < 3e6


def rounded(generator):
    return generator.half().float()


def test_a_generator_with_fp16_weights_and_its_own_scores_is_accepted():
    build_page.check(rounded(make_generator(clusters_per_class=1)), SCORES)


@pytest.mark.parametrize(
    ("generator", "scores", "message"),
    [
        ({"conditional": False, "clusters_per_class": 1}, SCORES, "conditional: True, but .* has False"),
        ({"canvas": False, "clusters_per_class": 1}, SCORES, "canvas: True, but .* has False"),
        ({"clusters_per_class": 20}, SCORES, "clusters_per_class: 1, but .* has 20"),
        ({"clusters_per_class": 1}, {"training": SCORES["training"] | {"generator_width": 16}}, "generator_width: 16"),
    ],
)
def test_a_generator_that_the_page_cannot_draw_is_refused(generator, scores, message):
    with pytest.raises(UserError, match=message):
        build_page.check(rounded(make_generator(**generator)), scores)


def test_weights_that_fp16_cannot_hold_are_refused():
    """The page stores half of each weight's bits, and would draw other pixels."""
    with pytest.raises(UserError, match=r"weight of .* has values that half precision cannot hold"):
        build_page.check(make_generator(clusters_per_class=1), SCORES)
