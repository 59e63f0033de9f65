"""Writing: what a commit stores and announces of an account that was touched."""

from collections.abc import Callable
from struct import pack
from typing import Any, Final

import msgspec

from scoring.account import CHANNELS, AccountState, encode_state, merged_into
from scoring.dedupe import SeenIds
from scoring.fold import Account
from scoring.history import DAYS_KEPT
from scoring.kpis.facts import FactPacker, Names
from scoring.live import Errand, Transition
from scoring.report import leaderboard_value, rfc3339
from scoring.rules import Rules
from scoring.scores import Scores, scores_at
from scoring.transitions import next_due
from stream.alerting import AnnounceAlert
from stream.fact_logs import FactWrite
from stream.outputs import Announcement
from stream.past import pack_days
from stream.state_store import AccountWrite, seen_suffix
from stream.topics import SCORE_CHANGES

FIELD_BYTES: Final = 64
"""Longest value of the account hash: longer ones would cost Redis its compact encoding."""

NO_TIER: Final = "none"

_to_json = msgspec.json.Encoder().encode

Writer = Callable[[Account, float], tuple[AccountWrite, list[Announcement]]]
AnnounceErrand = Callable[[Errand], Announcement]


def account_writer(
    rules: Rules,
    announce_alert: AnnounceAlert,
    announce_errand: AnnounceErrand,
    packer: FactPacker | None = None,
) -> Writer:
    """Return the function from account and time (Unix seconds) to what is stored and announced.

    It takes the account's transitions, alerts, errands, history, facts and fresh event ids out of it.
    """
    facts_of = packer or FactPacker(rules.read_page)

    def write(account: Account, now: float) -> tuple[AccountWrite, list[Announcement]]:
        state, live = account.state, account.live
        names: Names = {}
        facts = _facts(account, facts_of, names, rules)
        transitions, alerts = live.announced, live.alerts
        errands, live.errands = live.errands, []
        live.announced, live.alerts = [], []
        scores = scores_at(state, now, rules, live)
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
            days=pack_days(live.days[-DAYS_KEPT:]),
            facts=facts,
            names=names,
        )
        account.seen.fresh.clear()
        account.seen.forgotten.clear()
        live.days.clear()
        return stored, [
            _announcement(state, scores, transitions, now),
            *map(announce_alert, alerts),
            *map(announce_errand, errands),
        ]

    return write


def _facts(account: Account, packer: FactPacker, names: Names, rules: Rules) -> FactWrite:
    kept, newest = rules.model.kpis, account.state.newest.values()
    packed = packer.take(account.live, names)
    return FactWrite(
        events=packed.events,
        records=packed.records,
        oldest=max(newest, default=0.0) - kept.keep_seconds,
        spare_seconds=kept.keep_seconds / 8.0,
        most=kept.most_facts,
    )


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
        *(() if state.ledger is None else ("merged_into", _cut(state.ledger.merged_into or ""))),
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
    if (other := merged_into(state)) is not None:
        body["merged_into"] = other
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
