"""Throughput on the embedded servers: the worker against its parts, stock Faust and aiokafka."""

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import secrets
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio
from rich.console import Console
from rich.table import Table

from stream.cli.output import terminal
from stream.embedded import EmbeddedServers, start_servers
from stream.kafka_admin import declare_topics
from stream.replay import Sent, replay_producer, send_lines
from tests.bench.events import ACCOUNTS, SPAN, ZIPF_EXPONENT, Market, account_lines, event_lines
from tests.bench.memory import RedisBytes, measure_redis
from tests.bench.meter import Report, machine
from tests.bench.plan import PARTITIONS, Plan
from tests.bench.processes import NotMeasured, run_rival
from tests.bench.worker_row import measure_workers

EVENTS = 200_000
ROW_SECONDS = 180.0


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    what: str
    at_most: int | None = None
    """A subset of the events, where all of them would take minutes."""
    workers: int = 0
    """How many real workers share the events; 0 for other programs."""

    def records(self, available: int) -> int:
        return available if self.at_most is None else min(available, self.at_most)


ROWS = (
    Row("a", "micro-batch transport, drain only"),
    Row("b", "micro-batch transport, drain and validate"),
    Row("c", "surgeline worker: validate, dedupe, fold, commit, announce", workers=1),
    Row("c2", "two surgeline workers of one group", workers=2),
    Row("d", "stock Faust, event by event, one Redis write each", at_most=20_000),
    Row("e", "stock Faust take(1000, 0.1 s), one Redis pipeline a batch", at_most=60_000),
    Row("f", "aiokafka getmany, pydantic models, one decayed sum, one Redis pipeline a poll"),
    Row("f2", "the same with the worker's own decoders"),
)


@dataclass(frozen=True)
class Bench:
    """Servers with the events in their topics."""

    servers: EmbeddedServers
    sent: Sent
    directory: Path

    def plan(self, row: Row) -> Plan:
        group = f"bench-{row.name}-{secrets.token_hex(4)}"
        return Plan(
            row=row.name,
            kafka=self.servers.kafka,
            redis_url=self.servers.redis_url,
            group=group,
            records=row.records(self.sent.records),
            report=str(self.directory / f"{group}.json"),
        )

    async def measure(self, row: Row) -> Report:
        """Run *row* once on an empty Redis, as a new consumer group."""
        plan = self.plan(row)
        await self._flush()
        if row.workers:
            return await measure_workers(
                plan, self.sent, self.directory, count=row.workers, deadline_seconds=ROW_SECONDS
            )
        return await run_rival(plan, self.directory, deadline_seconds=ROW_SECONDS)

    async def measure_redis(self) -> RedisBytes:
        """Return the Redis memory of an account."""
        await self._flush()
        group = f"bench-memory-{secrets.token_hex(4)}"
        plan = Plan(
            row="memory",
            kafka=self.servers.kafka,
            redis_url=self.servers.redis_url,
            group=group,
            records=0,
            report="",
            topic_prefix=f"{group}-",
        )
        return await measure_redis(plan, self.directory)

    async def _flush(self) -> None:
        client: Any = redis.asyncio.Redis.from_url(self.servers.redis_url)
        async with client:
            await client.flushall()


@contextlib.asynccontextmanager
async def prepared(events: int) -> AsyncIterator[Bench]:
    """Start the servers and fill the topics."""
    async with await start_servers() as servers:
        settings = Plan("", servers.kafka, servers.redis_url, "bench", events, "").settings
        await declare_topics(settings)
        market = Market.of()
        until = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
        lines = [
            *account_lines(market, until - SPAN - dt.timedelta(hours=1)),
            *event_lines(market, events, until=until),
        ]
        async with replay_producer(settings) as producer:
            sent = await send_lines(lines, producer, prefix="", progress=lambda _: None)
        yield Bench(servers, sent, servers.directory)


async def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure what *arguments* ask for, print the tables and return them."""
    asked = arguments.only.split(",") if arguments.only else [*(r.name for r in ROWS), "memory"]
    described, runs, taken = machine(), {}, None
    _say(f"Producing {arguments.events:,} events ...")
    began = time.perf_counter()
    async with prepared(arguments.events) as bench:
        _say(f"Produced in {time.perf_counter() - began:.0f} s.")
        for row in (each for each in ROWS if each.name in asked):
            _say(f"Row {row.name}: {row.what} ...")
            runs[row] = [await bench.measure(row) for _ in range(arguments.repeat)]
        if "memory" in asked:
            _say("Redis memory of an account ...")
            taken = await bench.measure_redis()
    console.print(_table(runs, arguments.events))
    if taken is not None:
        console.print(_memory_sentence(taken))
    return {
        "machine": described,
        "events": arguments.events,
        "accounts": ACCOUNTS,
        "zipf_exponent": ZIPF_EXPONENT,
        "partitions": PARTITIONS,
        "rows": [_row_json(row, reports) for row, reports in runs.items()],
        "redis_bytes_per_account": None if taken is None else taken.as_json(),
    }


def median_run(reports: Sequence[Report]) -> Report:
    """Return the run with the median speed (of an even number the slower of the two)."""
    middle = statistics.median_low([report.per_second for report in reports])
    return next(report for report in reports if report.per_second == middle)


def _row_json(row: Row, reports: Sequence[Report]) -> dict[str, Any]:
    return {
        "row": row.name,
        "what": row.what,
        **median_run(reports).as_json(),
        "runs": [report.as_json() for report in reports],
    }


def _table(runs: dict[Row, list[Report]], events: int) -> Table:
    table = Table(
        title=f"{events:,} events of {ACCOUNTS:,} accounts (Zipf {ZIPF_EXPONENT}), "
        f"{PARTITIONS} partitions, embedded broker and Redis on the same machine",
        caption="events/s from the first event handled to the last (rows c: from the first commit "
        "seen); CPU of the measured processes alone, all threads; peak of the largest; warm start: "
        "from the process's start to its first event",
    )
    table.add_column("")
    table.add_column("what", max_width=46)
    for name in ("records", "events/s", "CPU µs/event", "peak MB", "warm start s"):
        table.add_column(name, justify="right")
    for row, reports in runs.items():
        shown = median_run(reports)
        speed = f"{shown.per_second:,.0f}"
        if len(reports) > 1:
            speeds = [each.per_second for each in reports]
            speed += f"\n({min(speeds):,.0f} to {max(speeds):,.0f})"
        subset = "" if row.at_most is None else " (a subset of the events)"
        table.add_row(
            row.name,
            row.what + subset,
            f"{shown.handled:,}" + (f"\n{shown.invalid:,} invalid" if shown.invalid else ""),
            speed,
            f"{shown.cpu_microseconds:.1f}",
            f"{shown.peak_bytes / 2**20:.0f}",
            f"{shown.warm_seconds:.1f}",
        )
    return table


def _memory_sentence(taken: RedisBytes) -> str:
    return (
        f"Redis per account (5 contacts, 13 weeks of daily history, {taken.events_per_account} "
        f"events): {taken.own_keys:,.0f} bytes in its own keys (state {taken.state:,.0f}, hash "
        f"{taken.hash:,.0f}, facts {taken.facts:,.0f}, the rest seen ids and days), "
        f"{taken.all:,.0f} bytes with "
        f"its part of leaderboards, due queue and overhead (over {taken.accounts} accounts)."
    )


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--only", default="", help="rows, such as a,c,f,memory")
    parser.add_argument("--repeat", type=int, default=1, help="runs a row; the median is shown")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    asked = _parsed(arguments)
    try:
        figures = asyncio.run(run(asked, terminal()))
    except NotMeasured as error:
        _say(str(error))
        return 1
    if asked.json is not None:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
