"""One account as the board keeps it in memory, and how it is shown as of now."""

import sys
from collections.abc import Mapping, Sequence
from math import exp2, inf, log2
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from scoring.account import AccountState, utc_day
from scoring.engagement import engagement_score
from scoring.explain import one_line
from scoring.model import SECONDS_PER_DAY
from scoring.report import account_report, as_of, leaderboard_value, rfc3339
from scoring.rules import Rules

SPARKLINE_DAYS: Final = 28
SCORE_NAMES: Final = ("engagement", "intent_surge", "relationship")
SCORE_DIGITS: Final = 4
"""As many as the hashes in Redis have."""

Day: TypeAlias = tuple[int, float, float, float]
"""UTC day since 1970, and engagement, intent surge and relationship as of its end."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One account; rows are replaced and never changed, so that a sorted list stays sorted."""

    account_id: str
    name: str
    searched: str
    """Lower-cased text in which a search looks."""
    minutes: float
    """Engagement minutes at ``at``."""
    at: float
    """Unix seconds as of which the scores are."""
    board: float
    """log2 M(t) + t/H, the same for every t; -inf without engagement."""
    intent_surge: float
    relationship: float
    surging: tuple[str, ...]
    stage: str | None
    target: bool
    tier: int | None
    owner_id: str | None
    last_event_at: float | None
    events: int
    reason: str
    days: tuple[tuple[int, float], ...]
    """UTC day -> engagement at its end as stored, ascending, at most the last 28 days."""
    quiet_from: int
    """UTC day since which nothing happened: what is not stored follows from the decay."""
    past: tuple[int, tuple[float | None, ...]]
    """The UTC day of its making, and the sparkline of the days before."""


class Decay(NamedTuple):
    """What engagement becomes by time alone."""

    half_life_seconds: float
    saturation_minutes: float

    @classmethod
    def of(cls, rules: Rules) -> "Decay":
        """Return that of *rules*."""
        return cls(rules.half_life_seconds, rules.model.engagement.saturation_minutes)

    def minutes(self, row: Row, now: float) -> float:
        """Return the engagement minutes of *row* at *now*."""
        return row.minutes * self.factor(max(0.0, now - row.at))

    def factor(self, seconds: float) -> float:
        """Return what a minute has become after *seconds*, or was before negative ones."""
        left: float = exp2(-seconds / self.half_life_seconds)
        return left

    def board(self, minutes: float, now: float) -> float:
        """Return what a row's ``board`` is that has *minutes* (more than none) at *now*."""
        value: float = log2(minutes) + now / self.half_life_seconds
        return value

    def score(self, minutes: float) -> float:
        """Return the engagement score of *minutes*."""
        return engagement_score(minutes, saturation_minutes=self.saturation_minutes)


def row_of(state: AccountState, now: float, rules: Rules, history: Sequence[Day] = ()) -> Row:
    """Return the row of *state* as of *now* (Unix seconds)."""
    now = max(now, max(state.newest.values(), default=now))
    instant = state.instant
    state = as_of(state, now, rules)
    report = account_report(state, now, rules)
    name, searched = _names(state)
    board = leaderboard_value(state, report["engagement_minutes"], now, rules)
    first, decay = utc_day(now) - SPARKLINE_DAYS, Decay.of(rules)
    quiet_from = utc_day(now if instant is None else instant)
    days = tuple((day[0], day[1]) for day in history if day[0] >= first)
    row = Row(
        account_id=state.account_id,
        name=name,
        searched=searched,
        minutes=report["engagement_minutes"],
        at=now,
        board=-inf if board is None else board,
        intent_surge=report["intent_surge"],
        relationship=report["relationship"],
        surging=tuple(state.surging),
        stage=state.stage,
        target=report["target"],
        tier=report["tier"],
        owner_id=_shared(report["owner_id"]),
        last_event_at=state.last_event_at,
        events=state.events,
        reason=one_line(state, now, rules),
        days=days,
        quiet_from=quiet_from,
        past=(-1, ()),
    )
    return msgspec.structs.replace(row, past=(utc_day(now), _before(row, utc_day(now), decay)))


def _names(state: AccountState) -> tuple[str, str]:
    """Return the name of the account, and the text in which a search looks."""
    details = {} if state.record is None else state.record.details
    name = str(details.get("name") or state.account_id)
    words = [name, state.account_id, *map(str, details.get("domains") or ())]
    return name, "\n".join(words).casefold()


class Change(msgspec.Struct, frozen=True):
    """What the board takes of a message of `score-changes`."""

    account_id: str
    as_of: str
    engagement_minutes: float
    intent_surge: float
    relationship: float
    surging: tuple[str, ...]
    stage: str | None = None
    target: bool = False
    tier: int | None = None
    owner_id: str | None = None
    transitions: tuple[dict[str, Any], ...] = ()


def changed_row(row: Row, change: Change, at: float, decay: Decay) -> Row:
    """Return *row* with what *change* (as of *at*) says; the rest is read later."""
    minutes = change.engagement_minutes
    board = decay.board(minutes, at) if minutes > 0.0 else row.board
    return msgspec.structs.replace(
        row,
        minutes=minutes,
        at=at,
        board=board,
        intent_surge=change.intent_surge,
        relationship=change.relationship,
        surging=change.surging,
        stage=change.stage,
        target=change.target,
        tier=change.tier,
        owner_id=_shared(change.owner_id),
    )


def _shared(text: str | None) -> str | None:
    """Return the one string that equals *text*: a filter then looks at few places in memory."""
    return None if text is None else sys.intern(text)


def shown(row: Row, now: float, decay: Decay) -> dict[str, Any]:
    """Return *row* as of *now*, as the API shows it, without its alert."""
    minutes = decay.minutes(row, now)
    score = decay.score(minutes)
    return {
        "account_id": row.account_id,
        "name": row.name,
        "engagement": round(score, SCORE_DIGITS),
        "intent_surge": round(row.intent_surge, SCORE_DIGITS),
        "relationship": round(row.relationship, SCORE_DIGITS),
        "engagement_minutes": round(minutes, SCORE_DIGITS),
        "surging": row.surging,
        "stage": row.stage,
        "target": row.target,
        "tier": row.tier,
        "owner_id": row.owner_id,
        "last_event_at": None if row.last_event_at is None else rfc3339(row.last_event_at),
        "events": row.events,
        "reason": row.reason,
        "sparkline": sparkline(row, now, decay),
    }


def sparkline(row: Row, now: float, decay: Decay) -> list[float | None]:
    """Return engagement at the end of each of the last 28 days, of today as of *now*.

    None where it was not stored and something has happened since.
    """
    made_on, past = row.past
    today = utc_day(now)
    before = past if made_on == today else _before(row, today, decay)
    return [*before, round(decay.score(decay.minutes(row, now)), 1)]


def _before(row: Row, today: int, decay: Decay) -> tuple[float | None, ...]:
    # Rows hold tuples of plain values only: those the garbage collector need not look at.
    known, found = dict(row.days), list[float | None]()
    for day in range(today - SPARKLINE_DAYS + 1, today):
        value = known.get(day)
        if value is None and day >= row.quiet_from:
            value = decay.score(row.minutes * decay.factor((day + 1) * SECONDS_PER_DAY - row.at))
        found.append(None if value is None else round(value, 1))
    return tuple(found)


def daily(
    history: Sequence[Day], today: Mapping[str, float], now: float, *, days: int
) -> list[dict[str, Any]]:
    """Return the three scores at the end of each of the last *days* days, oldest first.

    The last one is *today*, as of *now*; days of which nothing is known have None.
    """
    last = utc_day(now)
    known = {day[0]: day[1:] for day in history}
    nothing = (None, None, None)
    found = [_day(day, *known.get(day, nothing)) for day in range(last - days + 1, last)]
    return [*found, _day(last, *(today[name] for name in SCORE_NAMES))]


def _day(day: int, *scores: float | None) -> dict[str, Any]:
    rounded = (None if each is None else round(each, SCORE_DIGITS) for each in scores)
    named = dict(zip(SCORE_NAMES, rounded, strict=True))
    return {"day": rfc3339(day * SECONDS_PER_DAY)[:10], **named}
