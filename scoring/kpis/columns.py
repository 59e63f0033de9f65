"""Facts of all accounts as columns, sorted by account and event time, within their bounds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from scoring.kpis.codes import LAST_ENGAGEMENT, TOUCH, Code
from scoring.kpis.facts import SPEND, Names

Array: TypeAlias = np.ndarray[Any, Any]

FACT_COLUMNS: Final = np.dtype(
    [
        ("time", "<f8"), ("minutes", "<f4"), ("added", "<f4"), ("contact", "<u8"),
        ("subject", "<u8"), ("other", "<u8"), ("code", "u1"), ("flags", "u1"),
    ]
)  # fmt: skip
"""`scoring.kpis.facts.FACT` as numpy reads it."""

JOINED: Final = 50
"""Logs of accounts that are joined at once."""

_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)


def paired(account: Array, number: Array) -> Array:
    """Return a number for each (account, number), 0 where the number is 0."""
    own = (account.astype(np.uint64) + np.uint64(1)) * _SPREAD
    return np.where(number == 0, np.uint64(0), number ^ own)


@dataclass(frozen=True, slots=True)
class Log:
    """One column a field, one row a fact; rows of an account lie together, by event time."""

    account: Array
    """Place of the account in ``Facts.accounts``."""
    time: Array
    minutes: Array
    added: Array
    contact: Array
    subject: Array
    other: Array
    code: Array
    flags: Array

    def where(self, rows: Array) -> "Log":
        """Return the rows that the mask or the indices *rows* choose."""
        places = np.flatnonzero(rows) if rows.dtype == bool else rows  # once, not for each column
        return Log(*(getattr(self, name).take(places) for name in self.__slots__))

    def has(self, *codes: int) -> Array:
        """Return which rows have one of *codes*: a look into a table of all codes."""
        table = np.zeros(256, dtype=bool)
        table[list(codes)] = True
        found: Array = table[self.code]
        return found

    @property
    def person(self) -> Array:
        """Return a number for each (account, contact), 0 where there is no contact."""
        return paired(self.account, self.contact)

    @property
    def number(self) -> Array:
        """Return ``other`` read as a double: icp_fit or an amount."""
        return np.ascontiguousarray(self.other).view("<f8")


class Spent(NamedTuple):
    """Money spent on a programme."""

    time: float
    amount: float
    currency: str
    program: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is remembered."""

    accounts: Sequence[str]
    events: Log
    records: Log
    cut_at: Array
    """Per account the newest time among the events dropped, -inf when none was."""
    records_cut_at: Array
    first_touch: Array
    """Per account the first touch among the events dropped, inf when there was none."""
    touches: Array
    """Per account the number of touches dropped."""
    spend: Sequence[Spent]
    spend_cut_at: float
    names: Names
    since: float = -inf
    """Nothing was remembered before this time."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is remembered, as the model says."""

    keep_seconds: float
    most: int


AccountLogs: TypeAlias = tuple[str, bytes, bytes]
"""Account id, log of events, log of records."""


@dataclass(slots=True)
class _Cut:
    """A log after its bounds, and what was dropped of it per account."""

    log: Log
    at: Array
    first_touch: Array
    touches: Array


def facts_of(
    logs: Iterable[AccountLogs],
    *,
    names: Names,
    spend: Iterable[tuple[float, bytes]],
    bounds: Bounds,
    since: float = -inf,
) -> Facts:
    """Return the columns of *logs*.

    Logs are cut to *bounds* exactly, whatever a store has left over them, so that the result
    does not depend on when it cut. *spend* are (event time, stored bytes).
    """
    found = sorted(logs)
    accounts = [log[0] for log in found]
    parts = [log[1] for log in found], [log[2] for log in found]
    found.clear()  # hundreds of megabytes that are not wanted twice
    events, records = map(_columns, parts)
    newest = np.full(len(accounts), -inf)
    for log in (events, records):
        told = ~log.has(Code.SURGE_STARTED, Code.SURGE_ENDED, Code.CUT)
        np.maximum.at(newest, log.account[told], log.time[told])
    kept = _within(events, len(accounts), oldest=newest - bounds.keep_seconds, most=bounds.most)
    known = _within(records, len(accounts), oldest=np.full(len(accounts), -inf), most=bounds.most)
    spent, spend_cut_at = _spend(spend, names)
    return Facts(
        accounts=accounts,
        events=kept.log,
        records=known.log,
        cut_at=kept.at,
        records_cut_at=known.at,
        first_touch=kept.first_touch,
        touches=kept.touches,
        spend=spent,
        spend_cut_at=spend_cut_at,
        names=names,
        since=since,
    )


def _columns(blobs: list[bytes]) -> Log:
    """Return the logs of all accounts one after the other, taking them out of *blobs*."""
    counts = [len(blob) // FACT_COLUMNS.itemsize for blob in blobs]
    names = FACT_COLUMNS.names or ()
    columns = [np.empty(sum(counts), FACT_COLUMNS[name]) for name in names]
    done = 0
    for start in range(
        0, len(blobs), JOINED
    ):  # some at a time: what is in the cache is copied fast
        some = slice(start, start + JOINED)
        rows = np.frombuffer(b"".join(blobs[some]), FACT_COLUMNS)
        blobs[some] = [b""] * len(blobs[some])
        for name, column in zip(names, columns, strict=True):
            column[done : done + len(rows)] = rows[name]
        done += len(rows)
    account = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return Log(account, *columns)


def _within(log: Log, accounts: int, *, oldest: Array, most: int) -> _Cut:
    heads = log.code == Code.CUT
    ends = np.cumsum(np.bincount(log.account, minlength=accounts))
    from_end = ends[log.account] - 1 - np.arange(len(log.time))
    gone = ((from_end >= most) | (log.time < oldest[log.account])) & ~heads
    at, first = np.full(accounts, -inf), np.full(accounts, inf)
    count = np.zeros(accounts)
    np.maximum.at(at, log.account[heads | gone], log.time[heads | gone])
    head = log.where(heads)
    first[head.account] = np.ascontiguousarray(head.contact).view("<f8")
    count[head.account] = head.number
    touches = log.where(gone & (log.code <= LAST_ENGAGEMENT) & (log.flags & TOUCH > 0))
    np.minimum.at(first, touches.account, touches.time)
    count += np.bincount(touches.account, minlength=accounts)
    kept = log.where(~(heads | gone)) if (heads | gone).any() else log
    return _Cut(_by_time(kept, accounts), at, first, count)


def _by_time(log: Log, accounts: int) -> Log:
    """Sort each account's rows by time, equal times as they came: most are in order already."""
    late = np.flatnonzero((np.diff(log.time) < 0) & (np.diff(log.account) == 0))
    if not len(late):
        return log
    starts = starts_of(log.account, accounts)
    order = np.arange(len(log.time))
    for account in np.unique(log.account[late]):
        start, stop = starts[account], starts[account + 1]
        order[start:stop] = start + np.argsort(log.time[start:stop], kind="stable")
    return log.where(order)


def starts_of(account: Array, accounts: int) -> Array:
    """Return where the rows of each account begin, and one more: where the last one's end."""
    counts = np.bincount(account, minlength=accounts)
    return np.concatenate(([0], np.cumsum(counts)))


def run_ends(*columns: Array) -> Array:
    """Return which rows are the last before one of *columns* changes, or of all."""
    ends = np.ones(len(columns[0]), dtype=bool)
    ends[:-1] = np.logical_or.reduce([each[1:] != each[:-1] for each in columns])
    return ends


def different(numbers: Array) -> Array:
    """Return the different *numbers*, rising: by sorting, which is faster than numpy's hashing."""
    ordered = np.sort(numbers)
    return ordered[run_ends(ordered)] if len(ordered) else ordered


def _spend(stored: Iterable[tuple[float, bytes]], names: Names) -> tuple[list[Spent], float]:
    """Return the spend, each (source, id) once, and the newest time of what was dropped of it."""
    cut_at, found = -inf, dict[int, Spent]()
    for time, data in sorted(stored):
        if len(data) != SPEND.size:
            cut_at = max(cut_at, time)
            continue
        number, amount, currency, program = SPEND.unpack(data)
        known = names.get(currency, "unnamed"), names.get(program, "unnamed")
        found.setdefault(number, Spent(time, amount, *known))
    return list(found.values()), cut_at
