"""What the model server can be asked for, and how it says what is wrong with a request."""

import reprlib

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST_DIGITS = 1000  # of a call, all its requests together: half a second of computation on one core
FORMATS = ("png", "idx")

ALLOWED = {
    "digits": f"a text of 1 to {MOST_DIGITS:,} digits 0 to 9",
    "seed": f"a whole number from 0 to {2**31 - 1}",
    "count": f"a whole number from 1 to {MOST_DIGITS:,}",
    "format": " or ".join(map(repr, FORMATS)),
}


class DigitRequest(BaseModel):
    """The same digits as `dcgan draw DIGITS --seed SEED --count COUNT` draws."""

    model_config = ConfigDict(extra="forbid")

    # None stands for the default: in MLflow's signature, a field without `| None` is required
    digits: str = Field(pattern=rf"\A[0-9]{{1,{MOST_DIGITS}}}\z")
    seed: int | None = Field(None, ge=0, lt=2**31)  # selects the handwriting; default 0
    count: int | None = Field(None, ge=1, le=MOST_DIGITS)  # lines, each with all the digits; default 1
    format: str | None = Field(None, pattern=rf"\A({'|'.join(FORMATS)})\z")  # default "png"

    @property
    def total(self) -> int:
        """Images that it asks for."""
        return len(self.digits) * (self.count or 1)


def explain(error: ValidationError) -> str:
    """One line for each wrong field: its name, its value and what is allowed."""
    return "; ".join(dict.fromkeys(_explain(problem["loc"], problem) for problem in error.errors()[:5]))


def _explain(place: tuple, problem: dict) -> str:
    field = place[0] if place else None
    if field not in ALLOWED:
        return f"{_short(field)} is not a field of a request; allowed are {', '.join(ALLOWED)}"
    if problem["type"] == "missing":
        return f"{field} is missing; allowed is {ALLOWED[field]}"
    return f"{field} is {_short(problem['input'])}; allowed is {ALLOWED[field]}"


def check_total(requests: list[DigitRequest]) -> str | None:
    """Why these requests are too many for one call; None if they are not."""
    total = sum(request.total for request in requests)
    if total <= MOST_DIGITS:
        return None
    return (
        f"digits times count are {total:,} digits, over all requests of this call; allowed are up to {MOST_DIGITS:,}: "
        "send several calls"
    )


def _short(value: object) -> str:
    length = f" ({len(value):,} characters)" if isinstance(value, str) and len(value) > 30 else ""
    return reprlib.repr(value)[:80] + length
