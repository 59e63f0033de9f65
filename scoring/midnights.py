"""Midnights: what is noted of an account whenever a UTC day has ended.

The scores as of that moment, for the history, and the relationship's highest values, from which
a cooling one has fallen.
"""

from math import exp2

from scoring.account import AccountState, utc_day
from scoring.history import DAYS_KEPT, DayScores
from scoring.live import Live
from scoring.model import SECONDS_PER_DAY
from scoring.rules import Rules
from scoring.scores import highest as highest_score
from scoring.scores import relationship_at, surge_scores
from scoring.surge import counted_in_window


def pass_midnights(state: AccountState, live: Live, time: float, rules: Rules) -> None:
    """Note the scores of every UTC day that ends between the instant and *time*."""
    assert state.instant is not None
    first, last = utc_day(state.instant), utc_day(time)
    for day in range(max(first, last - DAYS_KEPT), last):
        midnight = (day + 1) * SECONDS_PER_DAY
        faded = exp2((state.instant - midnight) / rules.half_life_seconds)
        relationship = relationship_at(state, midnight, rules)
        _note_high(
            state, day + 1, relationship, keep=rules.model.alerts.relationship_cooling.midnights
        )
        live.days.append(
            DayScores(
                day,
                rules.engagement_score(state.minutes * faded),
                _surge(state, live, day, rules),
                relationship,
            )
        )
    if len(live.days) > 2 * DAYS_KEPT:  # nobody has taken them for long
        del live.days[:-DAYS_KEPT]


def highest(state: AccountState, now: float, *, midnights: int) -> tuple[int, float] | None:
    """Return (day, score) of the highest relationship at the last *midnights* up to *now*.

    None when there was none at any of them.
    """
    oldest = utc_day(now) - midnights + 1
    highs = state.highs
    for at in range(0, len(highs), 2):
        if highs[at] >= oldest:
            return highs[at], highs[at + 1]
    return None


def _note_high(state: AccountState, day: int, value: float, *, keep: int) -> None:
    """Add the value at the midnight that begins *day* to the highs.

    Only what may still become the highest of the last *keep* midnights is kept: values fall
    from the oldest to the newest.
    """
    highs = state.highs
    while highs and highs[0] <= day - keep:
        del highs[:2]
    if value <= 0.0:
        return
    while highs and highs[-1] <= value:
        del highs[-2:]
    highs += (day, value)


def _surge(state: AccountState, live: Live, day: int, rules: Rules) -> float:
    if not counted_in_window(state, day, rules.model.surge):
        return 0.0
    return highest_score(surge_scores(state, day, rules, live))
