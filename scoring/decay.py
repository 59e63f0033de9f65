"""Exponential decay, kept forward: sums are masses at a landmark (Cormode et al., 2009).

An event's mass is its value times ``2 ** ((time - landmark) / half_life)``, fixed for ever;
the decayed sum at any later time is the total mass times one factor. So adding is O(1) and
events may arrive in any order.
"""

from math import exp2
from typing import Final

MAX_HALF_LIVES: Final = 256.0
"""Landmarks move after this many half-lives, long before a double overflows (at 1,024)."""


def decayed(mass: float, *, elapsed_seconds: float, half_life_seconds: float) -> float:
    """Return *mass* after exponential decay over *elapsed_seconds*.

    Negative elapsed seconds give the mass that an earlier moment would have needed.

    >>> decayed(8.0, elapsed_seconds=60.0, half_life_seconds=60.0)
    4.0
    """
    return mass * weight(elapsed_seconds=elapsed_seconds, half_life_seconds=half_life_seconds)


def weight(*, elapsed_seconds: float, half_life_seconds: float) -> float:
    """Return ``2 ** (-elapsed / half_life)``, 0 where a double is too small for it.

    Raises OverflowError for events more than 1,024 half-lives after their landmark.

    >>> weight(elapsed_seconds=0.0, half_life_seconds=5.0)
    1.0
    """
    return exp2(-elapsed_seconds / half_life_seconds)


def saturated(mass: float, *, half_saturation: float) -> float:
    """Return the share ``1 - 2 ** (-mass / half_saturation)``, from 0 towards 1.

    >>> saturated(30.0, half_saturation=30.0)
    0.5
    """
    return 1.0 - exp2(-mass / half_saturation)
