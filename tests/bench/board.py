"""The board beside a working worker: how long requests take, and the first view of the page."""

import argparse
import asyncio
import contextlib
import datetime as dt
import itertools
import json
import random
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from stream.child import Child
from stream.embedded import start_servers
from stream.kafka_admin import declare_topics
from stream.replay import replay_producer, scored, send_lines
from stream.state_store import RedisStore
from tests.bench.events import Market, account_lines, event_line, event_lines
from tests.bench.meter import machine
from tests.bench.plan import Plan
from tests.bench.processes import NotMeasured, environment, running_worker

ACCOUNTS = 10_000
EVENTS = 60_000
SECONDS = 30.0
REQUESTS_PER_SECOND = 50.0
EVENTS_PER_SECOND = 200
READY_SECONDS = 120.0
SCORED_SECONDS = 600.0
VIEWS = 5


@dataclass(frozen=True)
class Figures:
    """What was measured; times in seconds."""

    accounts: int
    load_seconds: float
    """From the board's start to its being ready."""
    first_view: float
    """The page, its files and what it first asks for, on new connections; the median."""
    latencies: list[float]
    """Of each request, from when it was due."""
    failed: int

    def quantile(self, share: float) -> float:
        """Return the latency that *share* of the requests stay below."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    def as_json(self) -> dict[str, Any]:
        """Return the figures for a file."""
        return {
            "machine": machine(),
            "accounts": self.accounts,
            "load_seconds": self.load_seconds,
            "first_view_seconds": self.first_view,
            "requests": len(self.latencies),
            "failed": self.failed,
            "p50_seconds": self.quantile(0.5),
            "p99_seconds": self.quantile(0.99),
            "slowest_seconds": max(self.latencies),
        }


async def measure(arguments: argparse.Namespace) -> Figures:
    """Score accounts, start the board beside the worker, and ask."""
    async with await start_servers() as servers:
        plan = Plan("board", servers.kafka, servers.redis_url, "bench-board", 0, "")
        await declare_topics(plan.settings)
        market = Market.of(arguments.accounts)
        async with running_worker(plan, servers.directory) as worker:
            await worker.ready()
            _say(f"Scoring {arguments.accounts:,} accounts ...")
            await _score(market, plan)
            async with _board(plan, servers.directory) as (url, load_seconds):
                view = await _first_view(url)
                _say(f"Asking for {arguments.seconds:g} s ...")
                latencies, failed = await _asked(url, market, plan, arguments.seconds)
    return Figures(arguments.accounts, load_seconds, view, latencies, failed)


async def _score(market: Market, plan: Plan) -> None:
    until = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
    start = until - dt.timedelta(days=8)
    lines = [*account_lines(market, start), *event_lines(market, EVENTS, until=until)]
    store = RedisStore(plan.redis_url)
    try:
        async with replay_producer(plan.settings) as producer:
            sent = await send_lines(lines, producer, prefix="", progress=lambda _: None)
        async with asyncio.timeout(SCORED_SECONDS):
            await scored(sent, store, partitions=plan.partitions, progress=lambda _: None)
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _board(plan: Plan, directory: Path) -> AsyncIterator[tuple[str, float]]:
    """Run the board; give its address, and how long it took to be ready."""
    port_file = directory / "board.port"
    command = [sys.executable, "-m", "stream.cli.main", "board", "--port-file", str(port_file)]
    settings = {"SURGELINE_BOARD_PORT": "0", "SURGELINE_BOARD_RATE": "0"}
    child = Child(
        "board",
        command,
        log_path=directory / "board.log",
        environment=environment(plan) | settings,
        directory=directory,
    )
    began = time.monotonic()
    await child.start()
    try:
        while not (port_file.exists() and await _is_ready(_url(port_file))):
            if not child.alive or time.monotonic() - began > READY_SECONDS:
                raise NotMeasured(f"The board does not get ready. {child.last_lines()}")
            await asyncio.sleep(0.02)
        yield _url(port_file), time.monotonic() - began
    finally:
        await child.stop()


def _url(port_file: Path) -> str:
    return f"http://127.0.0.1:{port_file.read_text(encoding='utf-8')}"


async def _is_ready(url: str) -> bool:
    try:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"{url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def _first_view(url: str) -> float:
    """Return the median time until all that the first page needs has come."""
    taken = []
    for _ in range(VIEWS):
        async with httpx.AsyncClient(base_url=url) as client:
            began = time.perf_counter()
            page = (await client.get("/")).text
            files = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page))
            asked = ("/api/v1/session", "/api/v1/owners", "/api/v1/today?limit=50")
            await asyncio.gather(*(client.get(each) for each in (*files, *asked)))
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


async def _asked(url: str, market: Market, plan: Plan, seconds: float) -> tuple[list[float], int]:
    """Ask at a steady rate whatever the answers take; return latencies and failures."""
    working = asyncio.create_task(_happen(market, plan))
    latencies: list[float] = []
    failed = 0

    async def ask(client: httpx.AsyncClient, path: str, due: float) -> None:
        nonlocal failed
        answer = await client.get(path)
        latencies.append(time.perf_counter() - due)
        failed += answer.status_code != 200

    try:
        async with httpx.AsyncClient(base_url=url) as client, asyncio.TaskGroup() as tasks:
            began = time.perf_counter()
            for number, path in enumerate(
                itertools.islice(_paths(), int(seconds * REQUESTS_PER_SECOND))
            ):
                due = began + number / REQUESTS_PER_SECOND
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.create_task(ask(client, path, due))
    finally:
        working.cancel()
    return latencies, failed


def _paths() -> Any:
    """Yield lists as people ask for them: sorted, filtered, searched, the next page."""
    chance = random.Random(7)
    sorts = ("engagement", "engagement", "intent_surge", "relationship", "last_event_at")
    while True:
        filters = (
            "",
            f"&tier={chance.randrange(1, 4)}",
            f"&owner=rep-{chance.randrange(20)}",
            "&stage=engaged",
            "&surging=true",
            f"&q=account%20{chance.randrange(100)}",
        )
        yield f"/api/v1/accounts?limit=50&sort={chance.choice(sorts)}{chance.choice(filters)}"


async def _happen(market: Market, plan: Plan) -> None:
    """Produce events, so that the worker works and rows change."""
    types = ("page_visit", "email", "chat", "intent")
    async with replay_producer(plan.settings) as producer:
        for second in itertools.count():
            at = dt.datetime.now(dt.UTC)
            chosen = market.chosen(EVENTS_PER_SECOND)
            lines = [
                event_line(market, types[n % 4], id_=f"live-{second}-{n}", account=each, at=at)
                for n, each in enumerate(chosen)
            ]
            await send_lines(lines, producer, prefix="", progress=lambda _: None)
            await asyncio.sleep(1.0)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.board", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    asked = parser.parse_args(arguments)
    try:
        figures = asyncio.run(measure(asked))
    except NotMeasured as error:
        _say(str(error))
        return 1
    found = figures.as_json()
    print(
        f"{found['accounts']:,} accounts; ready {found['load_seconds']:.1f} s after its start; "
        f"first view {found['first_view_seconds'] * 1e3:.0f} ms; {found['requests']} requests at "
        f"{REQUESTS_PER_SECOND:g}/s beside {EVENTS_PER_SECOND} events/s: "
        f"p50 {found['p50_seconds'] * 1e3:.1f} ms, p99 {found['p99_seconds'] * 1e3:.1f} ms, "
        f"slowest {found['slowest_seconds'] * 1e3:.0f} ms, {found['failed']} failed."
    )
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
