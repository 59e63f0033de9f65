"""Kafka administration: topics, committed offsets and logs, asked for outside of the worker.

Topic names are those of Kafka, prefix included, unless it says otherwise.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    InvalidConfigurationError,
    InvalidReplicationFactorError,
    KafkaConnectionError,
    KafkaError,
    NotCoordinatorError,
    TopicAlreadyExistsError,
    for_code,
)
from aiokafka.structs import TopicPartition

from stream.errors import RefusedStart, Unreachable
from stream.kafka_security import NOT_ALLOWED, check_access, client_arguments, denied
from stream.offset_ranges import offset_ranges
from stream.settings import Settings
from stream.topics import ALERTS, INPUTS, SCORE_CHANGES, TopicSpec, topic_specs

REQUEST_SECONDS: Final = 10.0
COORDINATOR_SECONDS: Final = 30.0
"""A cluster's first consumer group makes it create its offsets topic first."""
CREATED_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.1
FIRST_WAIT_SECONDS: Final = 0.2
LONGEST_WAIT_SECONDS: Final = 5.0

T = TypeVar("T")


async def wait_for_kafka(settings: Settings, on_wait: Callable[[Unreachable], None]) -> None:
    """Return once a broker answers, trying again and again with growing waits.

    Calls *on_wait* with the error of the first attempt that fails, and only of that.
    """
    waited, pause = False, FIRST_WAIT_SECONDS
    while True:
        try:
            async with admin_client(settings) as admin:
                await admin.describe_cluster()
        except Unreachable as error:
            if not waited:
                on_wait(error)
            waited = True
            await asyncio.sleep(pause)
            pause = min(pause * 2.0, LONGEST_WAIT_SECONDS)
        else:
            return


async def declare_topics(settings: Settings) -> int:
    """Create the topics that are missing and return the partition count of the inputs.

    Inputs that exist keep their partition count, and what is missing is created with it.
    Raises RefusedStart when inputs differ in it, when an output has fewer partitions than they,
    or when Kafka refuses to create a topic; Unreachable when it does not answer.
    """
    async with admin_client(settings) as admin:
        existing = await partition_counts(admin, settings)
        partitions = _agreed(existing, settings) or settings.partitions
        missing = _missing(existing)
        if missing and (late := await _not_shown_yet(admin, missing, partitions, settings)):
            existing = await _shown(admin, late, settings)
            partitions = _agreed(existing, settings) or partitions
            missing = _missing(existing)
        if missing:
            await _create(admin, missing, partitions, settings)
            existing = await _shown(admin, missing, settings)
        return _agreed(existing, settings) or partitions


async def input_partitions(settings: Settings) -> int | None:
    """Return the partition count of the input topics, None while none is declared."""
    async with admin_client(settings) as admin:
        return _agreed(await partition_counts(admin, settings), settings)


async def committed_offsets(
    settings: Settings, topics: Iterable[str], partitions: int
) -> dict[tuple[str, int], int]:
    """Return (topic, partition) -> next offset that the consumer group has committed to Kafka.

    Only of *topics* and their first *partitions* partitions; those without a commit are absent.
    """
    wanted = {(topic, number) for topic in topics for number in range(partitions)}
    asked = [TopicPartition(*each) for each in sorted(wanted)]
    async with admin_client(settings) as admin:
        found = await from_coordinator(
            lambda: admin.list_consumer_group_offsets(settings.group, partitions=asked)
        )
    offsets = {(tp.topic, tp.partition): each.offset for tp, each in found.items()}
    return {tp: offset for tp, offset in offsets.items() if tp in wanted and offset >= 0}


async def log_ranges(
    settings: Settings, topics: Iterable[str], partitions: int
) -> dict[tuple[str, int], tuple[int, int]]:
    """Return (topic, partition) -> (oldest offset, next offset) of the log."""
    tps = [TopicPartition(topic, number) for topic in topics for number in range(partitions)]
    consumer = AIOKafkaConsumer(
        **client_arguments(settings),
        request_timeout_ms=int(REQUEST_SECONDS * 1_000),
        enable_auto_commit=False,
    )
    async with Reached(settings):
        try:
            await consumer.start()
            found = await offset_ranges(consumer, tps)
        finally:
            await consumer.stop()
    return {(tp.topic, tp.partition): range_ for tp, range_ in found.items()}


async def group_members(settings: Settings) -> int | None:
    """Return how many workers are in the consumer group, None where the broker cannot say."""
    async with admin_client(settings) as admin:
        try:
            answers = await from_coordinator(
                lambda: admin.describe_consumer_groups([settings.group])
            )
            groups = [group for answer in answers for group in answer.to_object()["groups"]]
            if any(each["error_code"] == GroupAuthorizationFailedError.errno for each in groups):
                raise denied(settings, GroupAuthorizationFailedError())
        except GroupAuthorizationFailedError:
            raise
        except (KafkaError, TimeoutError, OSError):
            return None
    return working_members(groups)


def working_members(groups: Sequence[Mapping[str, Any]]) -> int | None:
    """Return how many members the described *groups* have, None where that cannot be told."""
    if not groups or any(group["error_code"] for group in groups):
        return None
    members = [member for group in groups for member in group["members"]]
    stable = all(group["state"] == "Stable" for group in groups)
    if members and stable and not any(each["member_assignment"] for each in members):
        return None  # a broker without assignments also lists members that left long ago
    return len(members)


def _agreed(counts: Mapping[str, int], settings: Settings) -> int | None:
    """Return the one partition count of the inputs among *counts*, None without any input."""
    by_count: dict[int, list[str]] = defaultdict(list)
    for name in INPUTS:
        if name in counts:
            by_count[counts[name]].append(settings.topic_prefix + name)
    if len(by_count) > 1:
        each = "; ".join(f"{n}: {', '.join(names)}" for n, names in sorted(by_count.items()))
        raise RefusedStart(
            f"The input topics differ in their number of partitions ({each}): an account's events "
            "must meet in one partition. Delete and recreate those that differ, or set another "
            "SURGELINE_TOPIC_PREFIX."
        )
    agreed = next(iter(by_count), None)
    for name in (SCORE_CHANGES, ALERTS):
        if agreed is not None and counts.get(name, agreed) < agreed:
            raise RefusedStart(
                f"Topic {settings.topic_prefix}{name} has {counts[name]} partitions and the input "
                f"topics have {agreed}: it needs as many. Add partitions to it if scores are new; "
                "stored ones want the number of partitions that they were made with."
            )
    return agreed


@asynccontextmanager
async def admin_client(settings: Settings) -> AsyncIterator[Any]:
    """Open an admin client; within, what says that Kafka is away is raised as Unreachable."""
    admin: Any = AIOKafkaAdminClient(  # Any: its types are incomplete
        **client_arguments(settings),
        client_id=f"{settings.group}-admin",
        request_timeout_ms=int(REQUEST_SECONDS * 1_000),
    )
    async with Reached(settings):
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()


class Reached:
    """Turns what Kafka's client raises into Unreachable, or RefusedStart where waiting is vain."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __aenter__(self) -> None:
        """Begin."""

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Translate."""
        if isinstance(error, NOT_ALLOWED):
            raise denied(self._settings, error) from error
        if isinstance(error, KafkaError | TimeoutError | OSError):
            why = _why(error)
            if isinstance(error, KafkaConnectionError):
                why = await check_access(self._settings) or why
            brokers = self._settings.kafka_url
            raise Unreachable(f"Kafka at {brokers} does not answer{why}.") from error


def _why(error: BaseException) -> str:
    """Return what *error* adds to "does not answer", in parentheses."""
    said = str(error).partition("\n")[0].removeprefix(f"{type(error).__name__}: ").rstrip(".")
    if "bootstrap" in said:  # nobody listens, or not yet: the address says it all
        return ""
    return f" ({said[:200] or type(error).__name__})"


async def partition_counts(admin: Any, settings: Settings) -> dict[str, int]:
    """Return name (without prefix) -> partitions of those topics of Surgeline that exist.

    All topics are asked for: naming one could make a broker create it with its own defaults.
    """
    prefix = settings.topic_prefix
    ours = {prefix + spec.name: spec.name for spec in topic_specs()}
    return {
        ours[each["topic"]]: len(each["partitions"])
        for each in await admin.describe_topics()
        if each["topic"] in ours and not each["error_code"]
    }


def _missing(counts: Mapping[str, int]) -> list[TopicSpec]:
    return [spec for spec in topic_specs() if spec.name not in counts]


async def _not_shown_yet(
    admin: Any, specs: list[TopicSpec], partitions: int, settings: Settings
) -> list[TopicSpec]:
    """Return those of *specs* that exist although the metadata does not show them yet.

    The controller knows; creating the others with another partition count would part the inputs.
    A broker that does not know how to only validate creates them, as they would be anyway.
    """
    topics = [_new_topic(spec, partitions, settings) for spec in specs]
    refused = await _refusals(admin, topics, settings, validate_only=True)
    return [spec for spec in specs if isinstance(refused.get(spec.name), TopicAlreadyExistsError)]


async def _create(admin: Any, specs: list[TopicSpec], partitions: int, settings: Settings) -> None:
    topics = [_new_topic(spec, partitions, settings) for spec in specs]
    refused = await _refusals(admin, topics, settings)
    # Not every broker knows every topic setting; the topics matter more than their retention.
    plain = [s for s in specs if isinstance(refused.get(s.name), InvalidConfigurationError)]
    if plain:
        topics = [_new_topic(TopicSpec(each.name, {}), partitions, settings) for each in plain]
        again = await _refusals(admin, topics, settings)
        refused = {name: refused[name] for name in refused.keys() - {s.name for s in plain}} | again
    for name, error in refused.items():
        if isinstance(error, InvalidReplicationFactorError):
            raise RefusedStart(
                f"SURGELINE_REPLICATION={settings.replication}: Kafka has fewer brokers than that."
            )
        if isinstance(error, NOT_ALLOWED):
            raise RefusedStart(
                f"Kafka shows no topic {settings.topic_prefix}{name} and does not allow us to "
                "create it: run `surgeline topics --create` as a user who may "
                "(deploy/kafka/acls.sh), or let this one describe it."
            )
        if not isinstance(error, TopicAlreadyExistsError):  # else another worker was faster
            raise RefusedStart(f"Kafka refuses to create {settings.topic_prefix}{name}: {error}.")


def _new_topic(spec: TopicSpec, partitions: int, settings: Settings) -> NewTopic:
    # The client wants an assignment, be it an empty one, where the brokers choose the replicas.
    assignment: dict[int, int] | None = {} if settings.replication == -1 else None
    name = settings.topic_prefix + spec.name
    return NewTopic(name, partitions, settings.replication, assignment, spec.config)


async def _refusals(
    admin: Any, topics: list[NewTopic], settings: Settings, *, validate_only: bool = False
) -> dict[str, KafkaError]:
    """Ask for *topics* and return name (without prefix) -> why it was not created."""
    answer = (await admin.create_topics(topics, validate_only=validate_only)).to_object()
    refused: dict[str, KafkaError] = {}
    for each in answer["topic_errors"]:
        if each["error_code"]:
            kind = for_code(each["error_code"])
            name = each["topic"].removeprefix(settings.topic_prefix)
            refused[name] = kind(each.get("error_message") or kind.__name__)
    return refused


async def _shown(admin: Any, specs: list[TopicSpec], settings: Settings) -> dict[str, int]:
    """Return the partition counts once all of *specs* show in the metadata."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + CREATED_SECONDS
    while True:
        counts = await partition_counts(admin, settings)
        missing = [spec.name for spec in specs if not counts.get(spec.name)]
        if not missing:
            return counts
        if loop.time() > give_up_at:
            raise Unreachable(
                f"Kafka does not show topic {settings.topic_prefix}{missing[0]} after "
                f"{CREATED_SECONDS:.0f} s."
            )
        await asyncio.sleep(POLL_SECONDS)


async def from_coordinator(ask: Callable[[], Awaitable[T]]) -> T:
    """Return what the group's coordinator answers, waiting while one is being found."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + COORDINATOR_SECONDS
    while True:
        try:
            return await ask()
        except (
            CoordinatorLoadInProgressError,
            CoordinatorNotAvailableError,
            NotCoordinatorError,
        ):
            if loop.time() > give_up_at:
                raise
            await asyncio.sleep(POLL_SECONDS)
