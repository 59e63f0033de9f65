"""How the history of an account is packed for storing: days in a ring."""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from scoring.history import DAYS_KEPT, DayScores

_SLOT: Final = Struct("<4H")
"""Day since 1970 and the three scores in steps of 1/500: eight bytes a day."""
_STEPS: Final = 500.0

DayWrite = tuple[int, bytes]
"""Where in the ring, in bytes, and what."""


def pack_days(days: Iterable[DayScores]) -> list[DayWrite]:
    """Return where each of *days* is written in the ring, and as what.

    Days before 1970 or after 2149 have no number of two bytes and are left out.
    """
    return [
        (
            day % DAYS_KEPT * _SLOT.size,
            _SLOT.pack(day, *(min(50_000, round(score * _STEPS)) for score in scores)),
        )
        for day, *scores in days
        if 0 < day < 65_536
    ]


def unpack_days(ring: bytes) -> list[DayScores]:
    """Return the days in *ring*, oldest first: at most DAYS_KEPT up to the newest."""
    whole = ring[: len(ring) - len(ring) % _SLOT.size]
    found = sorted(
        DayScores(day, *(score / _STEPS for score in scores))
        for day, *scores in _SLOT.iter_unpack(whole)
        if day
    )
    return [each for each in found if each.day > found[-1].day - DAYS_KEPT]
