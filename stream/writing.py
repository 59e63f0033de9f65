"""Writing: what a commit stores and announces of an account that was touched."""

from collections.abc import Callable
from struct import pack
from typing import Any, Final

import msgspec

from scoring.account import CHANNELS, AccountState, encode_state
from scoring.dedupe import SeenIds
from scoring.fold import Account
from scoring.report import Scores, leaderboard_value, rfc3339, scores_at
from scoring.rules import Rules
from scoring.transitions import Transition, next_due
from stream.outputs import Announcement
from stream.state_store import AccountWrite, seen_suffix
from stream.topics import SCORE_CHANGES

FIELD_BYTES: Final = 64
"""Longest value of the account hash: longer ones would cost Redis its compact encoding."""

NO_TIER: Final = "none"

_to_json = msgspec.json.Encoder().encode

Writer = Callable[[Account, float], tuple[AccountWrite, Announcement]]


def account_writer(rules: Rules) -> Writer:
    """Return the function from account and time (Unix seconds) to what is stored and announced.

    It takes the account's transitions and fresh event ids out of it.
    """

    def write(account: Account, now: float) -> tuple[AccountWrite, Announcement]:
        state, transitions = account.state, account.live.announced
        account.live.announced = []
        scores = scores_at(state, now, rules, account.live)
        stored = AccountWrite(
            account_id=state.account_id,
            fields=_fields(state, scores, now),
            state=encode_state(state),
            scores=(
                leaderboard_value(state, scores.engagement_minutes, now, rules),
                scores.intent_surge or None,
                scores.relationship or None,
            ),
            due=next_due(state, rules),
            bucket=_bucket(state),
            surging=bool(state.surging),
            moves=[t.subject for t in transitions if t.rule == "stage_changed"],
            fresh=_fresh(account.seen),
            dropped=[seen_suffix(CHANNELS[code], day) for code, day in account.seen.forgotten],
        )
        account.seen.fresh.clear()
        account.seen.forgotten.clear()
        return stored, _announcement(state, scores, transitions, now)

    return write


def _fresh(seen: SeenIds) -> list[tuple[str, bytes]]:
    return [
        (seen_suffix(CHANNELS[code], day), pack(f"<{len(hashes)}Q", *hashes))
        for (code, day), hashes in seen.fresh.items()
    ]


def _bucket(state: AccountState) -> str:
    if state.stage is None or state.record is None:
        return ""
    return f"{state.record.tier or NO_TIER}|{state.stage}"


def _fields(state: AccountState, scores: Scores, now: float) -> list[str]:
    record = state.record
    return [
        "engagement", f"{scores.engagement:.4f}",
        "engagement_minutes", f"{scores.engagement_minutes:.4f}",
        "intent_surge", f"{scores.intent_surge:.4f}",
        "surge_topics", _cut(",".join(state.surging)),
        "surging", "1" if state.surging else "0",
        "relationship", f"{scores.relationship:.4f}",
        "contacts", str(scores.contacts),
        "stage", state.stage or "",
        "tier", str(record.tier or "") if record else "",
        "target", "1" if record and record.target else "0",
        "owner_id", _cut(record.owner_id or "") if record else "",
        "bucket", _bucket(state),
        "events", str(state.events),
        "first_event_at", _time(state.first_event_at),
        "last_event_at", _time(state.last_event_at),
        "as_of", rfc3339(now),
    ]  # fmt: skip


def _announcement(
    state: AccountState, scores: Scores, transitions: list[Transition], now: float
) -> Announcement:
    record = state.record
    body: dict[str, Any] = {
        "account_id": state.account_id,
        "as_of": rfc3339(now),
        "engagement": scores.engagement,
        "engagement_minutes": scores.engagement_minutes,
        "intent_surge": scores.intent_surge,
        "surging": state.surging,
        "relationship": scores.relationship,
        "stage": state.stage,
        "target": record is not None and record.target,
        "tier": record.tier if record else None,
        "owner_id": record.owner_id if record else None,
        "transitions": [
            {"id": t.id, "rule": t.rule, "subject": t.subject, "at": rfc3339(t.at)}
            for t in transitions
        ],
    }
    return Announcement(
        SCORE_CHANGES, state.account_id.encode("utf-8", "surrogatepass"), _to_json(body)
    )


def _time(time: float | None) -> str:
    return "" if time is None else rfc3339(time)


def _cut(text: str) -> str:
    """Return *text* cut to the longest value of the hash, at a character's boundary."""
    if len(text) * 4 <= FIELD_BYTES:
        return text
    return text.encode()[:FIELD_BYTES].decode(errors="ignore")
