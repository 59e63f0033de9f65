"""The history of an account: its scores at the end of each UTC day, and its last touches.

The former are stored beside the state, which does not carry them, the latter are made from facts
(`scoring.timeline`): nothing is computed from them.
"""

from typing import Final, NamedTuple

import msgspec

DAYS_KEPT: Final = 91
"""Thirteen weeks."""

TOUCHES_KEPT: Final = 20


class DayScores(NamedTuple):
    """The three scores as of the end of one UTC day, by what was known then."""

    day: int
    """Days since 1970-01-01."""
    engagement: float
    intent_surge: float
    relationship: float


class Touched(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One thing that happened between the account and us."""

    time: float
    """Event time, Unix seconds."""
    channel: int
    """Code of the event's type."""
    contact_id: str | None
    label: str
    """The page's path, the intent topic, or what was done."""
    minutes: float
    """Engagement that it added, before seniority and decay."""
