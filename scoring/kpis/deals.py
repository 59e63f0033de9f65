"""Deals: opportunities as of one moment, from the facts of their events."""

from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

import numpy as np

from scoring.kpis.codes import HAS_AMOUNT, KINDS, Code
from scoring.kpis.columns import Array, Log
from scoring.kpis.facts import Names

NO_CURRENCY: Final = "none"
_STATES: Final = {
    Code.OPENED: "open", Code.WON: "won", Code.LOST: "lost", Code.CHURNED: "churned",
}  # fmt: skip
_DEPTH: Final = {"new": 4, "renewal": 5, "expansion": 6}
"""Of the stages that wins of a kind lead to."""


class Deal(NamedTuple):
    """One opportunity as of a moment."""

    account: int
    kind: str
    state: str
    """``open``, ``won``, ``lost`` or ``churned``."""
    since: float
    """Time of the newest deciding event, -inf while only ``updated`` was seen."""
    first_at: float
    """Time of its first event."""
    opened_at: float
    """Time of its first ``opened``, inf for none."""
    won_at: float
    """Time of its newest ``won``, -inf for none."""
    entered_at: float
    """When it first was open or won, inf for never."""
    amount: float | None
    currency: str
    years: float

    @property
    def is_win(self) -> bool:
        """Tell whether it was won and not taken back since."""
        return self.state in ("won", "churned") and self.won_at > -inf

    @property
    def annual(self) -> float | None:
        """Return the annual contract value."""
        return None if self.amount is None else self.amount / self.years


def deals_of(records: Log, names: Names) -> list[Deal]:
    """Return the opportunities in *records*, the records before the moment."""
    log = records.where((records.code >= Code.OPENED) & (records.code <= Code.CHURNED))
    order = np.lexsort((log.subject, log.account))
    log = log.where(order)
    ends = np.flatnonzero((np.diff(log.account) != 0) | (np.diff(log.subject) != 0)) + 1
    groups = np.split(np.arange(len(order)), ends)
    columns = [
        each.tolist()
        for each in (log.account, log.time, log.code, log.flags, log.number, log.minutes)
    ]
    currencies = [names.get(each, NO_CURRENCY) for each in log.contact.tolist()]
    return [_deal(columns, currencies, group) for group in groups if len(group)]


def _deal(columns: list[list[float]], currencies: list[str], group: Array) -> Deal:
    accounts, times, codes, flags, amounts, years = columns
    rows = [int(row) for row in group]
    deciding = [row for row in rows if codes[row] != Code.UPDATED]
    last = deciding[-1] if deciding else rows[-1]
    priced = [row for row in rows if int(flags[row]) & HAS_AMOUNT]
    price = priced[-1] if priced else rows[-1]
    # An update opens only what no other event has decided.
    entering = [row for row in rows if codes[row] in (Code.OPENED, Code.WON)]
    entering += rows[:1] if codes[rows[0]] == Code.UPDATED else []
    return Deal(
        account=int(accounts[last]),
        kind=KINDS[int(flags[last]) & 3],
        state=_STATES[Code(int(codes[last]))] if deciding else "open",
        since=times[last] if deciding else -inf,
        first_at=times[rows[0]],
        opened_at=min((times[row] for row in rows if codes[row] == Code.OPENED), default=inf),
        won_at=max((times[row] for row in rows if codes[row] == Code.WON), default=-inf),
        entered_at=min((times[row] for row in entering), default=inf),
        amount=amounts[price] if priced else None,
        currency=currencies[price],
        years=years[price] or 1.0,
    )


def churned_at(records: Log, accounts: int) -> Array:
    """Return per account the time of its newest churn, -inf for none."""
    found = np.full(accounts, -inf)
    churns = records.code == Code.CHURNED
    np.maximum.at(found, records.account[churns], records.time[churns])
    return found


def depths(deals: Sequence[Deal], churned: Array) -> Array:
    """Return per account the deepest stage (1 to 6) by its deals alone, 1 without any.

    A win counts while no churn of the account is at or after it.
    """
    found = np.ones(len(churned), dtype=np.int64)
    for deal in deals:
        depth = 1
        if deal.state == "open":
            depth = 3
        elif deal.state == "won" and churned[deal.account] < deal.since:
            depth = _DEPTH[deal.kind]
        found[deal.account] = max(found[deal.account], depth)
    return found
