"""The pairs of the quiz, its key, its page, and the counting of answers."""

import numpy as np
import pytest

from dcgan.evaluation.quiz import PAIRS, make_quiz, parse_answers, quiz_key, quiz_page, result
from dcgan.support.errors import UserError


def numbered(count: int, first: int) -> np.ndarray:
    """uint8 [count, 28, 28]: the first two pixels of each are its number, the third says which set it is of."""
    images = np.zeros((count, 28, 28), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(count), 256)
    images[:, 0, 2] = first
    return images


REAL, GENERATED = numbered(300, first=1), numbered(400, first=2)
REAL_LABELS, GENERATED_LABELS = np.arange(300) % 10, np.arange(400) // 40


def quiz(seed: int):
    return make_quiz(REAL, REAL_LABELS, GENERATED, GENERATED_LABELS, seed)


def number(image: np.ndarray) -> int:
    return int(image[0, 0]) * 256 + int(image[0, 1])


def test_each_pair_is_a_real_and_a_generated_digit_of_one_label_on_the_side_of_the_key():
    made, used = quiz(7), set()
    for left, right, side in zip(made.left, made.right, made.key, strict=True):
        real, generated = (right, left) if side == "L" else (left, right)
        assert (real[0, 2], generated[0, 2]) == (1, 2)
        assert REAL_LABELS[number(real)] == GENERATED_LABELS[number(generated)]
        used |= {("real", number(real)), ("generated", number(generated))}
    assert len(made.key) == PAIRS == 40 and len(used) == 2 * PAIRS  # no image twice
    assert len({GENERATED_LABELS[number(image)] for image in made.left[made.left[:, 0, 2] == 2]}) > 5


def test_the_seed_selects_pairs_and_sides():
    first, again, other = quiz(7), quiz(7), quiz(8)
    assert (first.left == again.left).all() and first.key == again.key == quiz_key(7)
    assert (first.left != other.left).any() and first.key != other.key
    sides = "".join(quiz_key(seed) for seed in range(50))
    assert 0.4 < sides.count("L") / len(sides) < 0.6


def test_too_few_pairs_are_an_error():
    with pytest.raises(UserError, match="only 30 pairs of the same label"):
        make_quiz(REAL, REAL_LABELS, GENERATED, np.zeros(400), seed=1)


def test_the_page_shows_the_pairs_and_has_the_key_only_at_its_end():
    made = quiz(7)
    page = quiz_page(made, 7)
    assert page.count("<img") == PAIRS and page.count("data:image/png;base64,") == PAIRS
    assert "--seed 7 " in page
    key = " ".join(f"{i}{side}" for i, side in enumerate(made.key, 1))
    assert page.index(key) > page.rindex("<img") and page.count(key) == 1


@pytest.mark.parametrize("text", ["l" * 40, "LLLLL " * 8, "L," * 40, " l, " * 40])
def test_answers_are_read_with_spaces_commas_and_small_letters(text):
    assert parse_answers(text) == "L" * 40


@pytest.mark.parametrize(
    "text, message",
    [
        ("L" * 39, "39 answers for 40 pairs"),
        ("", "0 answers"),
        ("L" * 39 + "x1", r"contain '1', 'X'; allowed are L and R"),
    ],
)
def test_other_answers_are_refused(text, message):
    with pytest.raises(UserError, match=message) as error:
        parse_answers(text)
    assert "\n" not in str(error.value)


def test_the_result_has_the_exact_interval():
    """For 35 of 40, Clopper and Pearson's interval is 73.2 % to 95.8 %; for 40 of 40 it starts at 0.025^(1/40)."""
    key = quiz_key(3)
    swapped = key.translate(str.maketrans("LR", "RL"))
    assert result(key[:35] + swapped[35:], key).startswith("35 of 40 found: 88%, 95 % interval 73% to 96%")
    assert result(key, key).startswith("40 of 40 found: 100%, 95 % interval 91% to 100%")
    assert result(swapped, key).startswith("0 of 40 found: 0%, 95 % interval 0% to 9%")
