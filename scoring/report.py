"""Reading an account: its scores as of a moment, storing nothing."""

import datetime as dt
from collections.abc import Iterable
from functools import lru_cache
from math import log2
from typing import Any

from scoring.account import AccountState, decode_state, encode_state
from scoring.engagement import mass_at_landmark
from scoring.live import Live
from scoring.rules import Rules
from scoring.scores import scores_at
from scoring.transitions import next_transition, walk


def as_of(state: AccountState, now: float, rules: Rules) -> AccountState:
    """Return *state* as it stands at *now*: due instants up to then evaluated on a copy."""
    due = next_transition(state, rules)
    if due is None or due > now:
        return state
    copy = decode_state(encode_state(state))
    walk(copy, Live(), now, rules)
    return copy


def account_report(state: AccountState, now: float, rules: Rules) -> dict[str, Any]:
    """Return what the commands print of one account as of *now*, numbers in full precision."""
    scores, state = scores_at(state, now, rules), as_of(state, now, rules)
    record = state.record
    return {
        "account_id": state.account_id,
        "as_of": rfc3339(now),
        "engagement": scores.engagement,
        "engagement_minutes": scores.engagement_minutes,
        "intent_surge": scores.intent_surge,
        "surge": dict(sorted(scores.surge.items())),
        "surging": state.surging,
        "relationship": scores.relationship,
        "contacts": scores.contacts,
        "stage": state.stage,
        "target": record is not None and record.target,
        "tier": None if record is None else record.tier,
        "owner_id": None if record is None else record.owner_id,
        "first_event_at": None if state.first_event_at is None else rfc3339(state.first_event_at),
        "last_event_at": None if state.last_event_at is None else rfc3339(state.last_event_at),
        "events": state.events,
        "noise": dict(sorted(state.noise.items())),
    }


def leaderboard_value(
    state: AccountState, minutes: float, now: float, rules: Rules
) -> float | None:
    """Return log2 M(t) + t/H, the same for every t: sorted by it, a board never goes stale.

    *minutes* is M(*now*); H and times in seconds. None for accounts without engagement.
    """
    if minutes > 0.0:
        return log2(minutes) + now / rules.half_life_seconds
    if state.landmark is None:
        return None
    mass = mass_at_landmark(state, rules.weights)  # too old to show as minutes
    return log2(mass) + state.landmark / rules.half_life_seconds if mass > 0.0 else None


def newest_time(states: Iterable[AccountState]) -> float | None:
    """Return the newest event time of any of *states*, None without any event."""
    return max((time for state in states for time in state.newest.values()), default=None)


@lru_cache(maxsize=16_384)
def rfc3339(time: float) -> str:
    """Return *time* (Unix seconds) as RFC 3339 in UTC, microseconds only where there are any.

    >>> rfc3339(0.5)
    '1970-01-01T00:00:00.500000Z'
    """
    return dt.datetime.fromtimestamp(time, dt.UTC).isoformat().removesuffix("+00:00") + "Z"


def parse_time(text: str) -> float:
    """Return Unix seconds of an RFC 3339 time with offset, or of a date (its UTC midnight).

    Raises ValueError with one sentence.

    >>> parse_time("1970-01-02"), parse_time("1970-01-01T01:00:00+01:00")
    (86400.0, 0.0)
    """
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time like 2026-01-31T09:00:00Z.") from None
    if moment.tzinfo is None:
        if len(text) > len("2026-01-31"):
            raise ValueError(f"{text!r} has no offset; write Z for UTC.")
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)).total_seconds()
