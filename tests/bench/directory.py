"""The directory: what 100,000 accounts and 1,000,000 contacts take in Redis, and look-ups in it."""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from scoring.directory import AccountEntry, ContactEntry, Kind, Told
from scoring.events import Event
from scoring.model import default_model
from stream.backoff import Backoff
from stream.directory import Directory
from stream.embedded import start_servers
from stream.finding import AccountFinder
from stream.state_store import RedisStore
from tests.bench.meter import machine

ACCOUNTS, CONTACTS = 100_000, 1_000_000
BATCH = 2_000
LOOK_UPS = 50
EVENTS_AT_ONCE = 1_000
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Figures:
    """What was measured."""

    accounts: int
    contacts: int
    redis_megabytes: float
    """Growth of used_memory."""
    records_per_second: float
    """Taken over into the directory, Redis on the same machine."""
    look_up_milliseconds: float
    """Median time to find the accounts of a micro-batch of 1,000 events, none of it remembered."""


def records(accounts: int, contacts: int) -> Iterator[Told]:
    """Yield records as CRMs have them: ids of 18 characters, addresses, a domain or two."""
    at = 1.7e9
    for number in range(accounts):
        domains = tuple(
            f"{name}{number:x}.example" for name in ("company-", "brand-")[: 1 + number % 2]
        )
        parent = f"001Dn00000{number // 10:08d}" if number % 10 == 1 else None
        entry = AccountEntry(at, parent=parent, name=f"company {number:x}", domains=domains)
        yield Told((Kind.ACCOUNT, f"001Dn00000{number:08d}"), entry)
    for number in range(contacts):
        account = number % accounts
        email = f"first.last{number:x}@company-{account:x}.example"
        contact = ContactEntry(at, f"001Dn00000{account:08d}", email)
        yield Told((Kind.CONTACT, f"003Dn00000{number:08d}"), contact)


def events(accounts: int, contacts: int, rng: random.Random) -> list[Event]:
    """Return a micro-batch of events without an account: by contact, address, domain, host."""
    found: list[Event] = []
    for _ in range(EVENTS_AT_ONCE):
        number = rng.randrange(contacts)
        account = number % accounts
        ways: list[dict[str, Any]] = [
            {"contact_id": f"003Dn00000{number:08d}"},
            {"email": f"first.last{number:x}@company-{account:x}.example"},
            {"email": f"somebody@company-{account:x}.example"},
            {
                "network_host": f"gw{number}.company-{account:x}.example",
                "anonymous_id": f"v{number}",
            },
        ]
        found.append({"type": "page_visit"} | rng.choice(ways))
    return found


async def measure(accounts: int, contacts: int) -> Figures:
    servers = await start_servers()
    store = RedisStore(servers.redis_url)
    try:
        directory = Directory(store)
        before = await _used(store)
        started = time.perf_counter()
        told = records(accounts, contacts)
        while batch := list(islice(told, BATCH)):
            await directory.tell(batch)
        seconds = time.perf_counter() - started
        held = await _used(store) - before
        return Figures(
            accounts,
            contacts,
            round(held / MEGABYTE, 1),
            round((accounts + contacts) / seconds),
            round(1_000 * await _look_ups(directory, accounts, contacts), 1),
        )
    finally:
        await store.close()
        await servers.stop()


async def _look_ups(directory: Directory, accounts: int, contacts: int) -> float:
    rng, times = random.Random(1), []
    backoff = Backoff(print, name="Redis")
    for _ in range(LOOK_UPS):
        finder = AccountFinder(directory, default_model().resolution, look_up=None, backoff=backoff)
        batch = events(accounts, contacts, rng)
        started = time.perf_counter()
        await finder.find(batch)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


async def _used(store: RedisStore) -> int:
    info: dict[str, Any] = await store.ask(store.client.info("memory"))
    return int(info["used_memory"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.directory", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--contacts", type=int, default=CONTACTS)
    asked = parser.parse_args()
    figures = asyncio.run(measure(asked.accounts, asked.contacts))
    print(f"{figures.accounts:,} accounts and {figures.contacts:,} contacts:")
    print(f"  Redis holds           {figures.redis_megabytes:,.0f} MB")
    print(f"  taken over            {figures.records_per_second:,.0f} records/s")
    print(f"  1,000 events found in {figures.look_up_milliseconds:.0f} ms")
    if asked.json is not None:
        found = asdict(figures) | {"machine": machine()}
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0 if figures.redis_megabytes < 1_000 else 1


if __name__ == "__main__":
    sys.exit(main())
