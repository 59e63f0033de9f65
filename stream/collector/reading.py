"""What a caller gave, as text, id or number; None where it gave none, or something else."""

from math import isfinite
from typing import Final

TEXT_CHARACTERS: Final = 512
URL_CHARACTERS: Final = 2_048


def given_text(value: object) -> str | None:
    """Return *value* as text that the contract takes, its beginning where it is too long.

    >>> given_text("  "), given_text(12), given_text("x" * 600) == "x" * 512
    (None, None, True)
    """
    return value[:TEXT_CHARACTERS] if isinstance(value, str) and value.strip() else None


def given_url(value: object) -> str | None:
    """Return *value* as an address, without query and fragment where it is too long with them.

    >>> given_url("https://x.example/a?" + "b" * 3_000)
    'https://x.example/a'
    """
    if not isinstance(value, str) or not value.strip():
        return None
    return value if len(value) <= URL_CHARACTERS else value.partition("#")[0].partition("?")[0]


def given_id(value: object) -> str | None:
    """Return *value* as an id, whole: two that begin alike are two.

    >>> given_id(12), given_id(""), given_id(None), given_id(True)
    ('12', None, None, None)
    """
    if isinstance(value, str):
        return value or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def given_number(value: object) -> float | None:
    """Return *value* as a number that is not negative, also where it is written out.

    >>> given_number("12.5"), given_number(-1), given_number("many")
    (12.5, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) and number >= 0 else None
