"""The demo: a simulated quarter through the real stack, checked against the core alone."""

import asyncio
import datetime as dt
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from scoring.events import TYPE_TOPICS
from scoring.model import default_model
from scoring.report import account_report
from scoring.rules import Rules
from stream.offline import OfflineRun, score_lines
from stream.reader import Funnel, Reading, Wanted, open_scores, read_all, read_funnel, read_top
from stream.replay import Sent, replay_producer, scored, send_lines
from stream.settings import Settings
from stream.simulator import live_events, simulate

TOLERANCE: Final = 1e-9
TOP_ACCOUNTS: Final = 10
SCORES: Final = ("engagement", "engagement_minutes", "intent_surge", "relationship")
FACTS: Final = (
    "contacts",
    "target",
    "tier",
    "owner_id",
    "first_event_at",
    "last_event_at",
    "events",
)


@dataclass(frozen=True, slots=True)
class Played:
    """What playing the quarter came to."""

    sent: Sent
    seconds: float
    """From the first record produced to the last one scored."""
    funnel: Funnel
    top: Reading


@dataclass(frozen=True, slots=True)
class Compared:
    """The stream's scores against those of the core alone."""

    accounts: int
    largest_difference: float
    wrong: tuple[str, ...]
    """Accounts whose scores or facts differ by more than the tolerance."""


def simulated_lines(seed: int, *, end: dt.datetime) -> list[bytes]:
    """Return the simulated quarter up to *end* as JSON lines."""
    return [json.dumps(event).encode() for event in simulate(seed, end=end)]


async def play(
    lines: list[bytes],
    settings: Settings,
    *,
    on_sent: Callable[[int], None],
    on_scored: Callable[[int], None],
) -> Played:
    """Produce *lines* to Kafka, wait until they are scored, and read the result."""
    started = time.perf_counter()
    async with replay_producer(settings) as producer, open_scores(settings) as stored:
        sending = asyncio.create_task(
            send_lines(lines, producer, prefix=settings.topic_prefix, progress=on_sent)
        )
        sent = await sending
        await scored(sent, stored.store, partitions=stored.partitions, progress=on_scored)
        seconds = time.perf_counter() - started
        funnel = await read_funnel(stored, None)
        top = await read_top(
            stored, by="engagement", limit=TOP_ACCOUNTS, wanted=Wanted(), as_of=None
        )
    return Played(sent, seconds, funnel, top)


async def compare(lines: list[bytes], settings: Settings) -> Compared:
    """Compare every stored account with the core folded over the same *lines*."""
    rules = Rules.of(default_model())
    offline = await asyncio.to_thread(
        lambda: score_lines(lines, rules=rules, as_of=None, now=time.time())
    )
    async with open_scores(settings) as stored:
        found = await read_all(stored, by="engagement", wanted=Wanted(), as_of=None)
    reports = {each.report["account_id"]: each.report for each in found.accounts}
    return _compared(offline, reports, found.as_of, rules)


def _compared(
    offline: OfflineRun, reports: dict[str, dict[str, Any]], as_of: float, rules: Rules
) -> Compared:
    wrong, largest = [], 0.0
    for account_id in sorted({*offline.accounts, *reports}):
        account, ours = offline.accounts.get(account_id), reports.get(account_id)
        if account is None or ours is None:
            wrong.append(account_id)
            continue
        theirs = account_report(account.state, as_of, rules)
        difference = max(abs(ours[name] - theirs[name]) for name in SCORES)
        largest = max(largest, difference)
        if difference > TOLERANCE or any(ours[name] != theirs[name] for name in FACTS):
            wrong.append(account_id)
    return Compared(len(reports), largest, tuple(wrong))


async def play_live(
    settings: Settings, seed: int, on_event: Callable[[dict[str, Any]], None]
) -> None:
    """Produce a few live events a second for ever."""
    async with replay_producer(settings) as producer:
        for wait, event in live_events(seed, start=dt.datetime.now(dt.UTC)):
            await asyncio.sleep(wait)
            account = event.get("account_id")
            await producer.send_and_wait(
                settings.topic_prefix + TYPE_TOPICS[str(event["type"])],
                value=json.dumps(event).encode(),
                key=str(account).encode() if account else None,
            )
            on_event(event)
