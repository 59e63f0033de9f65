"""How long `surgeline kpis` takes on 10,000 accounts with 500 remembered events each."""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import redis.asyncio

from scoring.kpis.codes import KINDS, TARGET, TIER_SHIFT, TOUCH, Code
from scoring.kpis.columns import FACT_COLUMNS
from scoring.kpis.facts import FactPacker, text_hash
from scoring.live import Live
from scoring.model import default_model
from scoring.rules import Rules
from stream.embedded import start_servers
from stream.routing import shard_finder
from stream.state_store import FORMAT, META, fact_key, shard_prefix

PARTITIONS = 8
NOW = 1_790_000_000.0
DAY = 86_400.0
PAGES = [f"/page-{number}" for number in range(200)]
MIX = {
    Code.AD_IMPRESSION: 0.55, Code.PAGE_VISIT: 0.2, Code.EMAIL_SENT: 0.08, Code.EMAIL_OPENED: 0.04,
    Code.EMAIL_REPLIED: 0.04, Code.INTENT: 0.04, Code.CHAT_MESSAGE: 0.03, Code.MEETING_HELD: 0.01,
    Code.AD_CLICK: 0.01,
}  # fmt: skip
GOAL_SECONDS = 5.0
PACKED = 200_000
DIFFERENT_LOGS = 400


def events_of(rng: np.random.Generator, facts: int, contacts: list[int]) -> bytes:
    """Return a log of events over the last 13 weeks."""
    log = np.zeros(facts, FACT_COLUMNS)
    log["time"] = np.sort(NOW - rng.random(facts) * 91 * DAY)
    log["code"] = rng.choice([int(code) for code in MIX], facts, p=list(MIX.values()))
    log["minutes"] = log["added"] = rng.random(facts)
    log["contact"] = np.where(rng.random(facts) < 0.4, rng.choice(contacts, facts), 0)
    pages = np.array([text_hash(page) for page in PAGES], np.uint64)
    log["subject"] = np.where(
        log["code"] == Code.INTENT, text_hash("crm"), rng.choice(pages, facts)
    )
    log["other"] = np.where(log["code"] == Code.INTENT, 1, rng.integers(1, 40, facts))
    log["flags"] = TOUCH * (log["code"] > 1) + 4 * (rng.random(facts) < 0.5)
    return log.tobytes()


def records_of(rng: np.random.Generator, contacts: list[int]) -> bytes:
    """Return a log of records: the account, its contacts, now and then a deal."""
    log = np.zeros(1 + len(contacts) + 3 * int(rng.random() < 0.2), FACT_COLUMNS)
    log["time"] = NOW - 90 * DAY
    log["code"][0], log["flags"][0] = Code.ACCOUNT, TARGET | int(rng.integers(1, 4)) << TIER_SHIFT
    log["other"][:1].view("<f8")[:] = rng.random()
    people = slice(1, 1 + len(contacts))
    log["code"][people], log["contact"][people] = Code.CONTACT, contacts
    log["flags"][people] = 3 | int(rng.integers(0, 6)) << 2
    deal = log[1 + len(contacts) :]
    if len(deal):
        deal["code"] = [Code.OPENED, Code.UPDATED, rng.choice([Code.WON, Code.LOST])]
        deal["time"] = NOW - np.array([40, 30, 10]) * DAY
        deal["subject"], deal["contact"] = 1, text_hash("USD")
        deal["flags"] = 4 | int(rng.integers(0, len(KINDS)))
        deal["other"] = np.full(3, 25_000.0).view("<u8")
    return log.tobytes()


async def fill(url: str, accounts: int, facts: int) -> None:
    """Write the logs of *accounts* accounts as commits leave them."""
    rng, client = np.random.default_rng(1), redis.asyncio.Redis.from_url(url)
    shard_of = shard_finder(PARTITIONS)
    digest = default_model().digest
    meta: Any = {"partitions": PARTITIONS, "clock": "event", "format": FORMAT, "digest": digest}
    await client.hset(META, mapping=meta)
    texts = {text_hash(text): text for text in (*PAGES, "crm", "USD")}
    for shard in range(PARTITIONS):
        prefix = shard_prefix(shard)
        names: Any = {number.to_bytes(8, "little"): text for number, text in texts.items()}
        await client.hset(f"{prefix}names", mapping=names)
        await client.hset(f"{prefix}fence", mapping={"seq": 1, "time": repr(NOW)})
    contacts = [text_hash(f"contact-{each}") for each in range(5)]
    logs = [
        (events_of(rng, facts, contacts), records_of(rng, contacts)) for _ in range(DIFFERENT_LOGS)
    ]
    pipe = client.pipeline(transaction=False)
    for number in range(accounts):
        account_id = f"account-{number}"
        shard = shard_of(account_id)
        events, records = logs[number % len(logs)]
        pipe.set(fact_key(shard, account_id, "facts"), events)
        pipe.set(fact_key(shard, account_id, "records"), records)
        if number % 500 == 499:
            await pipe.execute()
    await pipe.execute()
    await client.aclose()


def timed(url: str) -> float:
    """Return how many seconds `surgeline kpis --json` takes, from its start to its end."""
    surgeline = Path(sys.executable).with_name("surgeline")
    began = time.perf_counter()
    ran = subprocess.run(
        [surgeline, "kpis", "--json"],
        env={**os.environ, "SURGELINE_REDIS_URL": url},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert len(ran.stdout.splitlines()) > 300
    return time.perf_counter() - began


def packing_seconds() -> float:
    """Return what packing one event into a fact takes."""
    events = [_event(number) for number in range(PACKED)]
    packer, live = FactPacker(Rules.of(default_model()).read_page), Live()
    best = float("inf")
    for _ in range(3):
        live.facts.extend((event, NOW, 1.0, 1.0) for event in events)
        began = time.perf_counter()
        packer.take(live, {})
        best = min(best, time.perf_counter() - began)
    return best / PACKED


def _event(number: int) -> dict[str, Any]:
    who = {"contact_id": f"c{number % 5}", "anonymous_id": f"a{number % 40}"}
    if number % 2:
        return {"type": "ad", "action": "impression", "campaign_id": "c", "placement": "web"}
    return {"type": "page_visit", "url": f"https://x.example{PAGES[number % 200]}", **who}


async def measure(accounts: int, facts: int) -> dict[str, float]:
    """Measure on a Redis of its own."""
    async with await start_servers() as servers:
        await fill(servers.redis_url, accounts, facts)
        runs = [await asyncio.to_thread(timed, servers.redis_url) for _ in range(3)]
    return {
        "seconds": min(runs),
        "slowest_seconds": max(runs),
        "peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1_024,
        "packing_us": 1e6 * packing_seconds(),
    }


def _lines(found: dict[str, float], accounts: int, facts: int) -> Iterator[str]:
    yield f"{os.cpu_count()} cores: {accounts:,} accounts with {facts} remembered events each"
    yield (
        f"surgeline kpis: {found['seconds']:.1f} s, at worst {found['slowest_seconds']:.1f} s of three"
        f" (goal: under {GOAL_SECONDS:.0f} s), {found['peak_mb']:.0f} MB"
    )
    yield f"packing an event into a fact: {found['packing_us']:.2f} us"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--facts", type=int, default=500)
    asked = parser.parse_args()
    found = asyncio.run(measure(asked.accounts, asked.facts))
    print("\n".join(_lines(found, asked.accounts, asked.facts)))
    if asked.json:
        asked.json.write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
