"""A mistake in a request is named with its field, its value and what is allowed."""

import pytest
from pydantic import ValidationError

from dcgan.serving.requests import MOST_DIGITS, DigitRequest, check_total, explain

LARGEST_SEED = 2**31 - 1


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"digits": "20x6"}, "digits is '20x6'; allowed is a text of 1 to 1,000 digits 0 to 9"),
        ({"digits": "٣"}, "digits is '٣'"),
        ({"digits": "1\n"}, r"digits is '1\n'"),
        ({"digits": ""}, "digits is ''"),
        ({"digits": 2026}, "digits is 2026; allowed is a text"),
        ({"digits": None}, "digits is None"),
        ({"digits": "1" * 10_000}, "(10,000 characters); allowed is a text of 1 to 1,000 digits"),
        ({}, "digits is missing; allowed is a text"),
        ({"digits": "1", "seed": -1}, f"seed is -1; allowed is a whole number from 0 to {LARGEST_SEED}"),
        ({"digits": "1", "seed": LARGEST_SEED + 1}, f"seed is {LARGEST_SEED + 1}; allowed"),
        ({"digits": "1", "seed": "7"}, "seed is '7'; allowed is a whole number"),
        ({"digits": "1", "seed": 7.5}, "seed is 7.5"),
        ({"digits": "1", "seed": True}, "seed is True"),
        ({"digits": "1", "count": 0}, "count is 0; allowed is a whole number from 1 to 1,000"),
        ({"digits": "1", "count": MOST_DIGITS + 1}, "count is 1001"),
        ({"digits": "1", "format": "jpg"}, "format is 'jpg'; allowed is 'png' or 'idx'"),
        ({"digits": "1", "sede": 7}, "'sede' is not a field of a request; allowed are digits, seed, count, format"),
        ({"digits": "1", "x" * 100_000: 7}, "(100,000 characters) is not a field"),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(request_, message):
    with pytest.raises(ValidationError) as caught:
        DigitRequest.model_validate(request_, strict=True)  # as MLflow checks it
    explained = explain(caught.value)
    assert message in explained
    assert len(explained) < 250 and "\n" not in explained


def test_several_mistakes_are_all_named():
    with pytest.raises(ValidationError) as caught:
        DigitRequest.model_validate({"digits": "x", "seed": -1, "colour": "red"}, strict=True)
    for field in ("digits is 'x'", "seed is -1", "'colour' is not a field"):
        assert field in explain(caught.value)


def test_the_digits_of_all_requests_of_a_call_count():
    largest = DigitRequest(digits="0123456789", count=MOST_DIGITS // 10)
    assert check_total([]) is None
    assert check_total([largest]) is None
    assert "1,001 digits" in check_total([largest, DigitRequest(digits="1")])
    assert "20,000 digits" in check_total([largest] * 20)
