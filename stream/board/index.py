"""All accounts in memory: sorted, filtered and cut into pages."""

import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Final, NamedTuple

from stream.board.cursors import Place
from stream.board.rows import Row

SORTED_SECONDS: Final = 1.0
"""A sorted list is used for so long, though rows have changed since."""
SORTING_SHARE: Final = 20.0
"""And for so many times longer than sorting took: at most a twentieth of the time is sorted."""
FILTERS_KEPT: Final = 64
MOST_OWNERS: Final = 5_000

_VALUES: Final[dict[str, Callable[[Row], float]]] = {
    "engagement": lambda row: row.board,
    "intent_surge": lambda row: row.intent_surge,
    "relationship": lambda row: row.relationship,
    "last_event_at": lambda row: -inf if row.last_event_at is None else row.last_event_at,
}
SORTS: Final = tuple(_VALUES)


class Wanted(NamedTuple):
    """Which accounts a list shows; None takes any."""

    q: str | None = None
    """Part of the name, the id or a domain."""
    owner: str | None = None
    tier: int | None = None
    stage: str | None = None
    """``none`` for accounts that are no target."""
    surging: bool | None = None

    def among(self, rows: Iterable[Row]) -> list[Row]:
        """Return those of *rows* that are wanted, in their order."""
        found = list(rows)
        if self.tier is not None:
            found = [row for row in found if row.tier == self.tier]
        if self.stage is not None:
            stage = None if self.stage == "none" else self.stage
            found = [row for row in found if row.stage == stage]
        if self.owner is not None:
            found = [row for row in found if row.owner_id == self.owner]
        if self.surging is not None:
            found = [row for row in found if bool(row.surging) is self.surging]
        if self.q:
            part = self.q.casefold()
            found = [row for row in found if part in row.searched]
        return found


class Page(NamedTuple):
    """Some accounts of a list."""

    rows: list[Row]
    total: int
    """Accounts of the whole list."""
    next: Place | None
    """The last of ``rows`` when more follow."""


@dataclass(slots=True)
class _Sorted:
    rows: list[Row]
    version: int
    good_until: float
    filtered: OrderedDict[Wanted, list[Row]] = field(default_factory=OrderedDict)


class AccountIndex:
    """Rows by account id; lists of them are up to a second old, or a twentieth of their cost.

    *monotonic* is the clock that this is measured by.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rows: dict[str, Row] = {}
        self._ids: list[str] | None = []
        self._version = 0
        self._sorted: dict[str, _Sorted] = {}
        self._monotonic = monotonic

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, account_id: str) -> Row | None:
        """Return the row of an account, None when it is not known."""
        return self._rows.get(account_id)

    def put(self, row: Row) -> None:
        """Add *row*, in place of an earlier one of its account."""
        if row.account_id not in self._rows:
            self._ids = None
        self._rows[row.account_id] = row
        self._version += 1

    def drop(self, account_id: str) -> None:
        """Forget an account, where it is known."""
        if self._rows.pop(account_id, None) is not None:
            self._ids = None
            self._version += 1

    def keep_only(self, account_ids: set[str]) -> None:
        """Forget every account but *account_ids*."""
        gone = self._rows.keys() - account_ids
        for account_id in gone:
            del self._rows[account_id]
        if gone:
            self._ids = None
            self._version += 1

    def matching(self, sort: str, wanted: Wanted) -> list[Row]:
        """Return the wanted rows by falling *sort* (one of SORTS), equal ones by id."""
        order = self._order(sort)
        if wanted == Wanted():
            return order.rows
        found = order.filtered.get(wanted)
        if found is None:
            found = order.filtered[wanted] = wanted.among(order.rows)
            if len(order.filtered) > FILTERS_KEPT:
                order.filtered.popitem(last=False)
        return found

    def page(self, sort: str, wanted: Wanted, *, after: Place | None, limit: int) -> Page:
        """Return up to *limit* wanted rows that follow *after*, from the first when it is None.

        An account whose score changes between two pages may come twice or not at all; all others
        come once.
        """
        rows, value = self.matching(sort, wanted), _VALUES[sort]
        start = 0
        if after is not None:
            where = (-after.value, after.id)
            start = bisect_right(rows, where, key=lambda row: (-value(row), row.account_id))
        chosen = rows[start : start + limit]
        more = start + limit < len(rows)
        last = Place(value(chosen[-1]), chosen[-1].account_id) if more else None
        return Page(chosen, len(rows), last)

    def owners(self) -> list[str]:
        """Return the owners of all accounts, by id."""
        found = {row.owner_id for row in self.matching("engagement", Wanted()) if row.owner_id}
        return sorted(found)[:MOST_OWNERS]

    def _order(self, sort: str) -> _Sorted:
        now, known = self._monotonic(), self._sorted.get(sort)
        if known is not None and (known.version == self._version or now < known.good_until):
            return known
        if self._ids is None:
            self._ids = sorted(self._rows)
        rows = [self._rows[account_id] for account_id in self._ids]
        rows.sort(key=_VALUES[sort], reverse=True)  # keeps the order by id among equals
        done = self._monotonic()
        good_until = done + max(SORTED_SECONDS, (done - now) * SORTING_SHARE)
        made = self._sorted[sort] = _Sorted(rows, self._version, good_until)
        return made
