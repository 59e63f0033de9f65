"""Delay from the produce of a page visit to the webhook that tells of it, on Apache Kafka.

The whole way: producer, Kafka, worker, Redis, outbox, Kafka, notifier, HTTP. Other events of all
types flow at a steady rate meanwhile.
"""

import asyncio
import contextlib
import datetime as dt
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from rich.table import Table

from stream.child import Child
from stream.embedded import LOOPBACK
from stream.kafka_admin import declare_topics
from stream.replay import replay_producer, scored, send_lines
from stream.state_store import RedisStore
from tests.bench.delay import DRAIN_SECONDS, RATE, Load, Watch, quantile
from tests.bench.events import Market, account_lines
from tests.bench.on_kafka import measured_on_kafka
from tests.bench.plan import PARTITIONS, Plan
from tests.bench.processes import POLL_SECONDS, NotMeasured, Worker, environment, running_worker

WARM_SECONDS, MEASURED_SECONDS = 5.0, 30.0
SETTLE_SECONDS = 10.0
MARKET_ACCOUNTS = 20_000
"""Accounts tell of a page once in half an hour: with few of them, alerts would soon cease."""


@dataclass
class Arrivals:
    """When events were handed to the producer, and how long their alerts took to arrive."""

    handed: dict[str, float] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    """Alert id -> seconds."""
    repeated: int = 0
    measuring_from: float = float("inf")

    def arrived(self, body: Any, at: float) -> None:
        """Note a delivered alert *body*."""
        alert = body.get("alert", body)
        if alert["rule"] != "high_value_page":
            return
        handed = self.handed[alert["cause"]["id"]]
        self.repeated += alert["id"] in self.delays
        if handed >= self.measuring_from:
            self.delays.setdefault(alert["id"], at - handed)


class TimedLoad(Load):
    """A load that remembers when it sent what."""

    def __init__(self, plan: Plan, market: Market, arrivals: Arrivals) -> None:
        super().__init__(plan, Watch(), market)
        self._arrivals = arrivals

    async def _send(self, producer: Any, account: str, type_: str) -> None:
        self._arrivals.handed[f"live-{self._number + 1}"] = time.monotonic()
        await super()._send(producer, account, type_)


@contextlib.asynccontextmanager
async def webhook(arrivals: Arrivals) -> AsyncIterator[str]:
    """Serve an endpoint that takes alerts at once; yield its address."""

    async def take(request: web.Request) -> web.Response:
        at = time.monotonic()
        arrivals.arrived(json.loads(await request.read()), at)
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0)
    await site.start()
    try:
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def notifier(plan: Plan, url: str, directory: Path) -> AsyncIterator[Child]:
    """Run the real command, which tells everything to the webhook at *url*."""
    routes, port_file = directory / "routes.toml", directory / "notifier.port"
    routes.write_text(
        f'default = ["bench"]\n[routes.bench]\nwebhook = "{url}"\nsecret = "{secrets.token_hex(32)}"\n'
        "quiet_hours = false\nrate_limit = false\nconcurrency = 32\n"
    )
    child = Child(
        "notifier",
        [sys.executable, "-m", "stream.cli.main", "notifier", "--port-file", str(port_file)],
        log_path=directory / "notifier.log",
        environment=environment(plan)
        | {"SURGELINE_ROUTES": str(routes), "SURGELINE_NOTIFIER_PORT": "0"},
        directory=directory,
    )
    await child.start()
    ready = Worker(child, port_file, time.time())
    try:
        await ready.ready()
        yield child
    finally:
        await child.stop(grace_seconds=15.0)


async def measure(kafka: str, redis_url: str, directory: Path) -> dict[str, Any]:
    """Run worker and notifier under the load and return the delays in seconds."""
    group = f"bench-alerts-{secrets.token_hex(4)}"
    plan = Plan("alerts", kafka, redis_url, group, 0, "", topic_prefix=f"{group}-")
    arrivals, market, store = Arrivals(), Market.of(MARKET_ACCOUNTS), RedisStore(redis_url)
    try:
        await declare_topics(plan.settings)
        async with (
            webhook(arrivals) as url,
            running_worker(plan, directory) as worker,
            notifier(plan, url, directory) as told,
        ):
            await worker.ready()
            await _send_accounts(plan, store, market)
            load = TimedLoad(plan, market, arrivals)
            await load.run(WARM_SECONDS)
            arrivals.measuring_from = time.monotonic()
            await load.run(MEASURED_SECONDS)
            await _all_told(worker, told, arrivals)
    finally:
        await store.close()
    delays = list(arrivals.delays.values())
    if not delays:
        raise NotMeasured("No alert arrived.")
    return {
        "events_per_second": RATE,
        "alerts": len(delays),
        "repeated": arrivals.repeated,
        "p50_seconds": round(quantile(delays, 0.50), 4),
        "p99_seconds": round(quantile(delays, 0.99), 4),
        "max_seconds": round(max(delays), 4),
    }


async def _send_accounts(plan: Plan, store: RedisStore, market: Market) -> None:
    async with replay_producer(plan.settings) as producer:
        lines = account_lines(market, dt.datetime.now(dt.UTC) - dt.timedelta(hours=1))
        sent = await send_lines(lines, producer, prefix=plan.topic_prefix, progress=lambda _: None)
    async with asyncio.timeout(2 * DRAIN_SECONDS):
        await scored(sent, store, partitions=PARTITIONS, progress=lambda _: None)


async def _all_told(worker: Worker, told: Child, arrivals: Arrivals) -> None:
    """Wait until no alert has arrived for a second."""
    give_up_at, known, since = time.monotonic() + SETTLE_SECONDS, -1, time.monotonic()
    while time.monotonic() - since < 1.0 and time.monotonic() < give_up_at:
        worker.check()
        if not told.alive:
            raise NotMeasured(f"The notifier has ended. {told.last_lines()}")
        if len(arrivals.delays) != known:
            known, since = len(arrivals.delays), time.monotonic()
        await asyncio.sleep(POLL_SECONDS)


def _table(figures: dict[str, Any]) -> Table:
    table = Table(
        title=f"Delay from a page visit's produce to its delivered webhook: {RATE:,} events/s of "
        f"{MARKET_ACCOUNTS:,} accounts for {MEASURED_SECONDS:.0f} s, Apache Kafka"
    )
    for name in ("alerts", "twice", "p50 ms", "p99 ms", "max ms"):
        table.add_column(name, justify="right")
    table.add_row(
        f"{figures['alerts']:,}",
        str(figures["repeated"]),
        *(f"{figures[f'{each}_seconds'] * 1e3:.0f}" for each in ("p50", "p99", "max")),
    )
    return table


if __name__ == "__main__":
    sys.exit(measured_on_kafka("alert_delay", __doc__, measure, _table))
