"""The collector on one core beside the broker: events a second, and how long each waits.

Broker and collector share one core, the clients run on another. Single calls come as browsers
send them, at a steady rate whatever the answers take; batches of 100 as fast as eight clients of
servers send them one after the other. Afterwards everything acknowledged is counted in Kafka.
"""

import argparse
import asyncio
import base64
import contextlib
import datetime as dt
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiokafka

from stream.child import Child
from stream.embedded import start_servers
from stream.kafka_admin import declare_topics
from tests.bench.meter import machine, usage_of
from tests.bench.plan import Plan
from tests.bench.processes import NotMeasured, environment
from tests.servers import KafkaServer

RATE = 2_000
SECONDS = 15.0
CONNECTIONS = 64
BATCH = 100
BATCH_CLIENTS = 8
ACCOUNTS = 2_000
READY_SECONDS = 60.0
COUNTED_SECONDS = 60.0
HEAD_END = b"\r\n\r\n"


@dataclass
class Figures:
    """One way of sending; times in seconds."""

    what: str
    events: int = 0
    """Acknowledged."""
    failed: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Of each request, from when it was due."""

    def quantile(self, share: float) -> float:
        """Return the latency that *share* of the requests stay below."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    def as_json(self) -> dict[str, Any]:
        """Return the figures for a file."""
        return {
            "what": self.what,
            "events": self.events,
            "failed": self.failed,
            "events_per_second": round(self.events / self.seconds, 1),
            "cpu_microseconds_per_event": round(self.cpu_seconds / max(self.events, 1) * 1e6, 1),
            "p50_seconds": self.quantile(0.5),
            "p99_seconds": self.quantile(0.99),
        }


class Connection:
    """A keep-alive connection, as thin as it gets: the clients must not be what is measured."""

    def __init__(self, host: str, port: int) -> None:
        self._at = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> int:
        """Send *body*; return the status."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._at)
        reader, writer = self._streams
        writer.write(_head(path, len(body)) + body)
        head = await reader.readuntil(HEAD_END)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        return int(head[9:12])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


def _head(path: str, length: int) -> bytes:
    key = base64.b64encode(b"bench:").decode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def calls() -> Iterator[dict[str, Any]]:
    """Yield page calls as trackers send them, each with an id of its own."""
    for number in itertools.count():
        yield {
            "type": "page",
            "messageId": f"{os.getpid()}-{time.time_ns()}-{number}",
            "anonymousId": f"visitor-{number % 10_000}",
            "userId": f"person-{number % 5_000}",
            "timestamp": dt.datetime.now(dt.UTC).isoformat(),
            "context": {
                "groupId": f"account-{number % ACCOUNTS}",
                "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "ip": "192.0.2.7",
            },
            "properties": {
                "url": f"https://www.example.com/products/{number % 500}?utm_source=bench",
                "referrer": "https://search.example/",
                "duration_seconds": 31.5,
            },
        }


async def singles(port: int, pid: int, seconds: float) -> Figures:
    """Send single calls at RATE a second."""
    figures, made = Figures(f"single calls at {RATE:,}/s"), calls()
    free: asyncio.Queue[Connection] = asyncio.Queue()
    connections = [Connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    for each in connections:
        free.put_nowait(each)

    async def send(body: bytes, due: float) -> None:
        connection = await free.get()
        status = await connection.post("/v1/page", body)
        free.put_nowait(connection)
        figures.latencies.append(time.perf_counter() - due)
        figures.events += status == 200
        figures.failed += status != 200

    before, began = usage_of(pid), time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(seconds * RATE)):
            due = began + number / RATE
            body = json.dumps(next(made)).encode()
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(send(body, due))
    _ended(figures, pid, before.cpu_seconds, began)
    for each in connections:
        each.close()
    return figures


async def batches(port: int, pid: int, seconds: float) -> Figures:
    """Send batches one after the other, from several clients at once."""
    figures, made = Figures(f"batches of {BATCH}"), calls()

    async def client() -> None:
        connection = Connection("127.0.0.1", port)
        while time.perf_counter() < until:
            body = json.dumps({"batch": list(itertools.islice(made, BATCH))}).encode()
            asked = time.perf_counter()
            status = await connection.post("/v1/batch", body)
            figures.latencies.append(time.perf_counter() - asked)
            figures.events += BATCH if status == 200 else 0
            figures.failed += BATCH if status != 200 else 0
        connection.close()

    before, began = usage_of(pid), time.perf_counter()
    until = began + seconds
    await asyncio.gather(*(client() for _ in range(BATCH_CLIENTS)))
    _ended(figures, pid, before.cpu_seconds, began)
    return figures


def _ended(figures: Figures, pid: int, cpu_before: float, began: float) -> None:
    figures.seconds = time.perf_counter() - began
    figures.cpu_seconds = usage_of(pid).cpu_seconds - cpu_before


async def measure(arguments: argparse.Namespace) -> list[Figures]:
    """Start broker and collector on one core, send from the others, count what Kafka has."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    _move_to(cores[:1])  # what is started now stays there
    async with contextlib.AsyncExitStack() as stack:
        servers = await stack.enter_async_context(await start_servers())
        kafka = servers.kafka
        if arguments.kafka:
            server = await asyncio.to_thread(KafkaServer, java_options=())
            await asyncio.to_thread(server.start)
            stack.callback(server.close)
            kafka = server.address
        plan = Plan("collector", kafka, servers.redis_url, "bench-collector", 0, "")
        await declare_topics(plan.settings)
        port, pid = await stack.enter_async_context(_collector(plan, servers.directory))
        _move_to(cores[1:] or cores)
        found = [
            await singles(port, pid, arguments.seconds),
            await batches(port, pid, arguments.seconds),
        ]
        await _count(plan, sum(each.events for each in found))
    return found


def _move_to(cores: Sequence[int]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)


async def _count(plan: Plan, acknowledged: int) -> None:
    """Check that Kafka has every event that was acknowledged."""
    # By reading: the embedded broker tells the ends of its logs late.
    ids: Counter[str] = Counter()
    give_up_at = time.monotonic() + COUNTED_SECONDS
    consumer: Any = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=plan.kafka, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        parts = range(plan.partitions)
        consumer.assign([aiokafka.TopicPartition("page-visits", each) for each in parts])
        while len(ids) < acknowledged and time.monotonic() < give_up_at:
            fetched = await consumer.getmany(timeout_ms=500)
            for record in itertools.chain(*fetched.values()):
                ids[json.loads(record.value)["id"]] += 1
    finally:
        await consumer.stop()
    if len(ids) < acknowledged:
        raise NotMeasured(f"{acknowledged} were acknowledged, and Kafka has {len(ids)}.")
    twice = sum(count > 1 for count in ids.values())
    _say(f"{acknowledged:,} acknowledged, all of them in Kafka, {twice:,} of them twice.")


@contextlib.asynccontextmanager
async def _collector(plan: Plan, directory: Path) -> AsyncIterator[tuple[int, int]]:
    """Run the collector; give its port and process id once it takes events."""
    port_file = directory / "collector.port"
    command = [sys.executable, "-m", "stream.cli.main", "collector", "--port-file", str(port_file)]
    settings = {"SURGELINE_COLLECTOR_PORT": "0", "SURGELINE_COLLECTOR_RATE": "0"}
    child = Child(
        "collector",
        command,
        log_path=directory / "collector.log",
        environment=environment(plan) | settings,
        directory=directory,
    )
    await child.start()
    give_up_at = time.monotonic() + READY_SECONDS
    try:
        while not (port_file.exists() and await _is_ready(int(port_file.read_text()))):
            if not child.alive or time.monotonic() > give_up_at:
                raise NotMeasured(f"The collector does not get ready. {child.last_lines()}")
            await asyncio.sleep(0.05)
        assert child.pid is not None
        yield int(port_file.read_text()), child.pid
    finally:
        await child.stop()


async def _is_ready(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        status = (await reader.read())[9:12]
        writer.close()
    except OSError:
        return False
    return status == b"200"


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.collector", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument(
        "--kafka", action="store_true", help="Apache Kafka, not the embedded broker"
    )
    asked = parser.parse_args(arguments)
    try:
        rows = [each.as_json() for each in asyncio.run(measure(asked))]
    except NotMeasured as error:
        _say(str(error))
        return 1
    for row in rows:
        print(
            f"{row['what']}: {row['events_per_second']:,.0f} events/s acknowledged, "
            f"p50 {row['p50_seconds'] * 1e3:.1f} ms, p99 {row['p99_seconds'] * 1e3:.1f} ms, "
            f"{row['cpu_microseconds_per_event']:.0f} µs CPU each, {row['failed']} failed."
        )
    if asked.json is not None:
        found = {"machine": machine(), "rows": rows}
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
