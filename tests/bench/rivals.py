"""The rows that run in a process of the benchmark: all of them but the worker itself.

`python -m tests.bench.rivals PLAN` runs one; PLAN is JSON.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import faust
import msgspec
import redis.asyncio
from faust.types import TP

from scoring.account import AccountState
from scoring.events import TOPIC_TYPES
from scoring.fold import Account, fold
from scoring.model import default_model
from scoring.rules import Rules
from stream import app as worker_app
from stream.cli.running import run_fast
from stream.decoding import Decoded, DecodeRecord, record_decoder
from stream.state_store import account_key, state_key
from stream.transport import MicroBatchTransport, Undecoded
from stream.writing import account_writer
from tests.bench import afternoon
from tests.bench.meter import Stopwatch
from tests.bench.plan import Plan
from tests.builders import announce_alert, announce_errand

STOP_SECONDS = 5.0
TAKEN = 1_000
TAKE_SECONDS = 0.1

Validate = Callable[[str, Any], Decoded]


class FromTheBeginning:
    """A progress that keeps none: every partition is read from the log's beginning."""

    def __init__(self) -> None:
        self._starts: dict[TP, int | None] = {}

    async def claim(self, assigned: set[TP]) -> None:
        self._starts = dict.fromkeys(assigned)

    def starts(self) -> Mapping[TP, int | None]:
        return self._starts

    async def flush(self, revoked: set[TP]) -> None:
        pass

    def release(self, revoked: set[TP]) -> None:
        for tp in revoked:
            self._starts.pop(tp, None)

    async def out_of_range(self, offsets: Mapping[TP, int]) -> BaseException:
        return RuntimeError(f"{offsets} cannot be read.")


class Accounts:
    """All accounts in memory, and the same fold as the worker's."""

    def __init__(self) -> None:
        self._rules = Rules.of(default_model())
        self._write = account_writer(self._rules, announce_alert, announce_errand)
        self._accounts: dict[str, Account] = {}

    def fold(self, decoded: Decoded) -> Account:
        assert decoded.event is not None
        account_id = decoded.event["account_id"]
        account = self._accounts.get(account_id)
        if account is None:
            account = self._accounts[account_id] = Account(AccountState(account_id))
        fold(account, decoded.event, decoded.time, self._rules)
        return account

    def store(self, pipe: Any, account: Account) -> None:
        """Add the writes of *account*, its state and its hash, to *pipe*."""
        written, _ = self._write(account, max(time.time(), account.state.instant or 0.0))
        pipe.set(state_key(0, written.account_id), written.state)
        fields = written.fields
        pair_up = zip(fields[::2], fields[1::2], strict=True)
        pipe.hset(account_key(0, written.account_id), mapping=dict(pair_up))


def validator(plan: Plan) -> Validate:
    """Return the function that validates a record of a topic (prefix included)."""
    decoders: dict[str, DecodeRecord] = {
        plan.topic_prefix + topic: record_decoder(topic, max_bytes=plan.settings.max_record_bytes)
        for topic in TOPIC_TYPES
    }

    def validate(topic: str, record: Any) -> Decoded:
        return decoders[topic](record, time.time())

    return validate


def topics(plan: Plan) -> list[str]:
    return [plan.topic_prefix + topic for topic in TOPIC_TYPES]


async def drain(plan: Plan, watch: Stopwatch) -> None:
    """Row a: our transport, an agent that only acknowledges."""
    await _run_micro_batches(plan, watch, lambda _topic, _records: 0)


async def drain_and_validate(plan: Plan, watch: Stopwatch) -> None:
    """Row b: the same, and every record is validated."""
    validate = validator(plan)

    def invalid(topic: str, records: Iterable[Any]) -> int:
        return sum(validate(topic, record).event is None for record in records)

    await _run_micro_batches(plan, watch, invalid)


async def _run_micro_batches(
    plan: Plan, watch: Stopwatch, invalid: Callable[[str, list[Any]], int]
) -> None:
    app = worker_app._faust_app(plan.settings)
    app.transport = MicroBatchTransport(app.conf.broker_consumer, app, progress=FromTheBeginning())
    done = asyncio.Event()

    async def handle(stream: Any) -> None:
        async for event in stream.noack().events():
            watch.begin()
            batch = event.value
            watch.invalid += invalid(batch.topic, batch.records)
            event.ack()
            if watch.add(len(batch.records)):
                done.set()

    app.agent(app.topic(*topics(plan), schema=Undecoded()), name="drain")(handle)
    await _until_done(app, done)


async def stock_event_by_event(plan: Plan, watch: Stopwatch) -> None:
    """Row d: stock Faust, `async for event in stream`, one write to Redis per event."""
    app, validate, accounts = _stock_app(plan), validator(plan), Accounts()
    store, done = redis.asyncio.Redis.from_url(plan.redis_url), asyncio.Event()

    async def handle(stream: Any) -> None:
        async for _ in stream:
            watch.begin()
            message = stream.current_event.message
            decoded = validate(message.topic, message)
            if decoded.event is None:
                watch.invalid += 1
            else:
                async with store.pipeline(transaction=False) as pipe:
                    accounts.store(pipe, accounts.fold(decoded))
                    await pipe.execute()
            if watch.add(1):
                done.set()

    app.agent(_raw_topic(app, plan), name="event_by_event")(handle)
    await _until_done(app, done)
    await store.aclose()


async def stock_take(plan: Plan, watch: Stopwatch) -> None:
    """Row e: stock Faust, `take` (as events: the topic is needed), one pipeline per batch."""
    app, validate, accounts = _stock_app(plan), validator(plan), Accounts()
    store, done = redis.asyncio.Redis.from_url(plan.redis_url), asyncio.Event()

    async def handle(stream: Any) -> None:
        async for events in stream.take_events(TAKEN, within=TAKE_SECONDS):
            watch.begin()
            touched: dict[int, Account] = {}
            for event in events:
                decoded = validate(event.message.topic, event.message)
                if decoded.event is None:
                    watch.invalid += 1
                else:
                    account = accounts.fold(decoded)
                    touched[id(account)] = account
            async with store.pipeline(transaction=False) as pipe:
                for account in touched.values():
                    accounts.store(pipe, account)
                await pipe.execute()
            if watch.add(len(events)):
                done.set()

    app.agent(_raw_topic(app, plan), name="take")(handle)
    await _until_done(app, done)
    await store.aclose()


def _stock_app(plan: Plan) -> Any:
    """Return a Faust app with its own settings, except for what no event passes through.

    Session times suit the embedded broker, and there is no web server and no leader topic.
    """
    return faust.App(
        plan.group,
        broker=f"kafka://{plan.kafka}",
        broker_session_timeout=plan.settings.session_seconds,
        broker_rebalance_timeout=plan.settings.session_seconds,
        broker_heartbeat_interval=plan.settings.session_seconds / 6,
        topic_disable_leader=True,
        web_enabled=False,
    )


def _raw_topic(app: Any, plan: Plan) -> Any:
    return app.topic(
        *topics(plan),
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )


async def _until_done(app: Any, done: asyncio.Event) -> None:
    await app.start()
    await done.wait()
    with contextlib.suppress(TimeoutError):  # what is measured is measured already
        await asyncio.wait_for(app.stop(), STOP_SECONDS)


async def plain_consumer(plan: Plan, watch: Stopwatch) -> None:
    """Row f: aiokafka and pydantic alone."""
    await afternoon.consume(plan, watch, topics(plan), afternoon.reader())


async def plain_consumer_with_our_decoders(plan: Plan, watch: Stopwatch) -> None:
    """Row f2: the same loop, and this project's decoders."""
    validate = validator(plan)

    def read(record: Any) -> tuple[str, float] | None:
        decoded = validate(record.topic, record)
        return None if decoded.event is None else (decoded.event["account_id"], decoded.time)

    await afternoon.consume(plan, watch, topics(plan), read)


RIVALS = {
    "a": drain,
    "b": drain_and_validate,
    "d": stock_event_by_event,
    "e": stock_take,
    "f": plain_consumer,
    "f2": plain_consumer_with_our_decoders,
}


async def run(plan: Plan) -> None:
    """Run the row of *plan* and write its report."""
    watch = Stopwatch(plan.records, started_at=plan.started_at)
    await RIVALS[plan.row](plan, watch)
    plan.report_path.write_bytes(msgspec.json.encode(watch.report()))


if __name__ == "__main__":
    run_fast(run(msgspec.json.decode(sys.argv[1], type=Plan)))
