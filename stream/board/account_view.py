"""One account in full, as the API shows it."""

from collections.abc import Mapping, Sequence
from math import exp2, fsum
from typing import Any, Final

from scoring.account import CHANNELS, SENIORITIES, AccountState, decode_state, encode_state
from scoring.history import DAYS_KEPT, DayScores, Touched
from scoring.live import Live
from scoring.midnights import pass_midnights
from scoring.relationship import strengths
from scoring.report import account_report, as_of, rfc3339
from scoring.rules import Rules
from scoring.transitions import walk
from stream.board.rows import SCORE_DIGITS, Day, Decay, daily, row_of, shown

MOST_CONTACTS: Final = 100
NOTHING: Final = 0.01
"""A decayed weight below this shows as 0."""

Json = dict[str, Any]


def account_view(
    state: AccountState,
    now: float,
    rules: Rules,
    *,
    history: Sequence[Day],
    touches: Sequence[Touched],
) -> Json:
    """Return *state* as of *now* (Unix seconds), without its alerts."""
    decay = Decay.of(rules)
    row = shown(row_of(state, now, rules, history), now, decay)
    known = [*history, *_since(state, now, rules)]
    state = as_of(state, now, rules)
    report = account_report(state, now, rules)
    details: Mapping[str, Any] = {} if state.record is None else state.record.details
    people = _contacts(state, now, rules)
    return row | {
        "as_of": rfc3339(now),
        "first_event_at": report["first_event_at"],
        **{name: details.get(name) for name in ("owner_email", "industry", "employees")},
        "domains": [*(details.get("domains") or ())],
        **{name: details.get(name) for name in ("parent_account_id", "icp_fit")},
        "surge": {topic: round(score, SCORE_DIGITS) for topic, score in report["surge"].items()},
        "contacts": people[:MOST_CONTACTS],
        "contacts_total": len(people),
        "history": daily(known, row, now, days=DAYS_KEPT),
        "touches": [_touch(each) for each in touches],
        "opportunities": _opportunities(state),
    }


def _since(state: AccountState, now: float, rules: Rules) -> list[DayScores]:
    """Return the days that ended since the account was last written."""
    if state.instant is None:
        return []
    copy, live = decode_state(encode_state(state)), Live()
    walk(copy, live, now, rules)
    pass_midnights(copy, live, now, rules)
    return live.days


def _contacts(state: AccountState, now: float, rules: Rules) -> list[Json]:
    """Return the people who did anything, or whom we wrote to, by falling strength."""
    model = rules.model.relationship
    known = strengths(state, now, weights=rules.weights, model=model)
    exchanged = {contact_id: values for contact_id, *values in known}
    rows = []
    for contact_id, contact in state.contacts.items():
        if contact.removed or not (contact.minutes or contact_id in exchanged):
            continue
        strength, inbound, outbound = exchanged.get(contact_id, (0.0, 0.0, 0.0))
        mass = fsum(contact.minutes.values()) * rules.weights[contact.seniority]
        rows.append(
            {
                "contact_id": contact_id,
                "seniority": None if contact.seniority is None else SENIORITIES[contact.seniority],
                "strength": round(strength, SCORE_DIGITS),
                "inbound": round(inbound, 2),
                "outbound": round(outbound, 2),
                "direction": direction(inbound, outbound),
                "minutes": round(mass * _left(state, now, rules), SCORE_DIGITS),
            }
        )
    return sorted(rows, key=lambda row: (-row["strength"], -row["minutes"], row["contact_id"]))


def _left(state: AccountState, now: float, rules: Rules) -> float:
    """Return the factor from masses at the landmark to minutes at *now*."""
    if state.landmark is None:
        return 0.0
    return exp2((state.landmark - now) / rules.half_life_seconds)


def direction(inbound: float, outbound: float) -> str:
    """Return who speaks: ``mutual``, ``theirs``, ``ours`` or ``none``.

    >>> direction(1.0, 0.0), direction(0.5, 2.0)
    ('theirs', 'mutual')
    """
    theirs, ours = inbound >= NOTHING, outbound >= NOTHING
    return "mutual" if theirs and ours else "theirs" if theirs else "ours" if ours else "none"


def _touch(touch: Touched) -> Json:
    return {
        "time": rfc3339(touch.time),
        "channel": CHANNELS[touch.channel],
        "contact_id": touch.contact_id,
        "label": touch.label,
        "minutes": round(touch.minutes, SCORE_DIGITS),
    }


def _opportunities(state: AccountState) -> list[Json]:
    return [
        {
            "opportunity_id": opportunity_id,
            "kind": each.kind,
            "state": each.state,
            "since": None if each.since is None else rfc3339(each.since),
        }
        for opportunity_id, each in sorted(state.opportunities.items())
    ]
