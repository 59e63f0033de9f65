"""View-through: what accounts did after they saw an ad that they did not click."""

import numpy as np

from scoring.kpis.codes import PAGE_KINDS, PAGE_SHIFT, Code
from scoring.kpis.columns import Array, Log

SECONDS = 30 * 86_400.0
_HIGH = PAGE_KINDS.index("high")


def viewed_through(log: Log, start: float) -> tuple[Array, Array]:
    """Return the indices of *log*'s visits, and of its conversions, from *start* on that count.

    Their account's newest impression before them is at most 30 days old, and no click lies after
    it, up to them. *log* is sorted by account and time.
    """
    high = (log.code == Code.PAGE_VISIT) & (log.flags >> PAGE_SHIFT & 3 == _HIGH)
    visit = log.code == Code.PAGE_VISIT
    other = log.has(Code.MEETING_BOOKED, Code.CHAT_STARTED)
    shown, clicked = log.code == Code.AD_IMPRESSION, log.code == Code.AD_CLICK
    rows = np.flatnonzero((visit | other | shown | clicked) & (log.time >= start - SECONDS))
    # Of equal times a click comes first, as it counts up to the visit, and an impression last.
    rank = np.where(clicked[rows], 0, np.where(shown[rows], 2, 1))
    account, time = log.account[rows], log.time[rows]
    if ((np.diff(account) == 0) & (np.diff(time) == 0)).any():
        order = np.lexsort((rank, time, account))
        rows, account, time = rows[order], account[order], time[order]
    last_shown = _last(shown[rows], account, time)
    last_click = _last(clicked[rows], account, time)
    counts = (time - last_shown <= SECONDS) & ~(last_click > last_shown) & (time >= start)
    return rows[counts & visit[rows]], rows[counts & (high | other)[rows]]


def _last(rows: Array, account: Array, time: Array) -> Array:
    """Return, per place, the time of the account's last of *rows* up to there, -inf for none."""
    at = np.maximum.accumulate(np.where(rows, np.arange(len(rows)), -1))
    found = (at >= 0) & (account[at] == account)
    return np.where(found, time[at], -np.inf)
