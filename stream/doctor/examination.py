"""The examination: all facts gathered in bounded time, then judged."""

import asyncio
import threading
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Final, TypeVar

from aiokafka.errors import KafkaError

from scoring.model import ScoringModel
from stream.doctor import asking_kafka, asking_redis
from stream.doctor.facts import Check, Facts, KafkaFacts, Level, RedisFacts, Topic, Unasked, Wanted
from stream.doctor.kafka_checks import kafka_checks
from stream.doctor.redis_checks import redis_checks
from stream.doctor.score_checks import fence_offsets, score_checks
from stream.errors import SurgelineError
from stream.kafka_admin import admin_client
from stream.reader import redis_place
from stream.redis_access import open_store
from stream.settings import Settings
from stream.state_store import FORMAT

FIRST_SECONDS: Final = 3.0
"""For whether a server answers, and what it says at once."""
SECOND_SECONDS: Final = 4.0
"""For what is asked only of servers that answered."""
APART_SECONDS: Final = 1.5
"""Between two looks at the same; a worker commits ten times a second."""
CLOSE_SECONDS: Final = 1.0
DAY_SECONDS: Final = 86_400

T = TypeVar("T")


async def examine(settings: Settings, model: ScoringModel) -> list[Check]:
    """Return every check; takes ten seconds at most, and writes nothing."""
    redis_facts, kafka_facts = await asyncio.gather(_ask_redis(settings), _ask_kafka(settings))
    kafka_facts = await _ask_logs(settings, redis_facts, kafka_facts)
    return diagnose(Facts(_wanted(settings, model), redis_facts, kafka_facts))


def examined(settings: Settings, model: ScoringModel) -> tuple[list[Check], bool]:
    """Run `examine` to its end; return its checks and whether something of it still runs.

    It runs in a thread that ends with the process: Kafka's client may be deaf to being cancelled
    for a minute while a broker is frozen, and a loop does not end before its last call.
    """
    answer: Future[list[Check]] = Future()

    async def run() -> None:
        try:
            answer.set_result(await examine(settings, model))
        except BaseException as error:  # noqa: BLE001  # it is raised where the answer is awaited
            answer.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    checks = answer.result()
    thread.join(CLOSE_SECONDS)
    return checks, thread.is_alive()


def diagnose(facts: Facts) -> list[Check]:
    """Return what is to be said of *facts*."""
    return [*kafka_checks(facts), *redis_checks(facts), *score_checks(facts)]


def is_well(checks: list[Check]) -> bool:
    """Tell whether nothing among *checks* is a problem."""
    return all(check.level is not Level.PROBLEM for check in checks)


def _wanted(settings: Settings, model: ScoringModel) -> Wanted:
    return Wanted(
        kafka=settings.kafka_url,
        redis=redis_place(settings.redis_url),
        group=settings.group,
        prefix=settings.topic_prefix,
        partitions=settings.partitions,
        clock=settings.clock,
        format=FORMAT,
        digest=model.digest,
        on_missing_state=settings.on_missing_state,
        on_data_gone=settings.on_data_gone,
    )


async def _ask_redis(settings: Settings) -> RedisFacts:
    store = open_store(settings)
    place = redis_place(settings.redis_url)

    async def ask(call: Coroutine[Any, Any, T]) -> T | Unasked:
        try:
            return await _within(FIRST_SECONDS + APART_SECONDS, call)
        except TimeoutError:
            return Unasked(f"Redis at {place} does not answer in time.")
        except SurgelineError as error:
            return asking_redis.why_not(error)

    try:
        server, ahead, refused, stored = await asyncio.gather(
            ask(asking_redis.server(store)),
            ask(asking_redis.ahead_seconds(store)),
            ask(asking_redis.refused_commands(store)),
            ask(asking_redis.stored(store, apart_seconds=APART_SECONDS)),
        )
        return RedisFacts(server, ahead, refused, stored)
    finally:
        await _closed(store.close())


async def _ask_kafka(settings: Settings) -> KafkaFacts:
    try:
        return await _within(FIRST_SECONDS, _ask_brokers(settings))
    except TimeoutError:
        silent = Unasked(f"Kafka at {settings.kafka_url} does not answer in time.")
    except (SurgelineError, KafkaError) as error:
        silent = asking_kafka.why_not(error, settings)
    return KafkaFacts(
        cluster=silent,
        topics=silent,
        group=silent,
        group_has_offsets=silent,
        ranges=silent,
        dead_letters=silent,
    )


async def _ask_brokers(settings: Settings) -> KafkaFacts:
    async with admin_client(settings) as admin:
        cluster = await asking_kafka.cluster(admin)
        topics, refused = await asking_kafka.topics(admin, settings)
        configs = await asking_kafka.configs(admin, settings, topics)
        try:
            group = await asking_kafka.group(admin, settings)
        except KafkaError as error:
            group = asking_kafka.why_not(error, settings)
    if isinstance(configs, Unasked):
        return KafkaFacts(cluster, topics, refused, configs, group)
    told = {name: replace(topic, config=configs.get(name)) for name, topic in topics.items()}
    return KafkaFacts(cluster, told, refused, None, group)


async def _ask_logs(settings: Settings, redis: RedisFacts, kafka: KafkaFacts) -> KafkaFacts:
    """Return *kafka* with what its logs and its group's offsets say."""
    topics = kafka.topics
    if isinstance(topics, Unasked):
        return kafka

    async def ask(call: Coroutine[Any, Any, T]) -> T | Unasked:
        try:
            return await _within(SECOND_SECONDS, call)
        except TimeoutError:
            return Unasked("Kafka does not answer in time.")
        except (SurgelineError, KafkaError) as error:
            return asking_kafka.why_not(error, settings)

    fences = {} if isinstance(redis.stored, Unasked) else fence_offsets(redis.stored)
    has_offsets, found = await asyncio.gather(
        ask(asking_kafka.has_offsets(settings, topics)),
        ask(_read_logs(settings, topics, fences, kafka)),
    )
    if isinstance(found, Unasked):
        return replace(kafka, group_has_offsets=has_offsets, ranges=found, dead_letters=found)
    return replace(found, group_has_offsets=has_offsets)


async def _read_logs(
    settings: Settings,
    topics: Mapping[str, Topic],
    fences: Mapping[tuple[str, int], int],
    kafka: KafkaFacts,
) -> KafkaFacts:
    reader = asking_kafka.LogReader(settings, topics)
    try:
        await reader.start()
        ranges = await reader.ranges()
        dead_letters = await reader.since(time.time() - DAY_SECONDS)
        refused = await reader.refused()
        beyond = {
            at: offset for at, offset in fences.items() if at in ranges and offset > ranges[at][1]
        }
        return replace(
            kafka,
            ranges=ranges,
            dead_letters=dead_letters,
            refused={**refused, **kafka.refused},
            beyond_end=await reader.silent(beyond),
        )
    finally:
        await _closed(reader.stop())


async def _within(seconds: float, call: Coroutine[Any, Any, T]) -> T:
    """Return what *call* returns; raise TimeoutError after *seconds*, however it takes that.

    Some calls of the clients are deaf to being cancelled, so nobody waits for their end.
    """
    task = asyncio.create_task(call)
    done, _ = await asyncio.wait((task,), timeout=seconds)
    if not done:
        task.cancel()
        raise TimeoutError
    return task.result()


async def _closed(call: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(call)
    await asyncio.wait((task,), timeout=CLOSE_SECONDS)
