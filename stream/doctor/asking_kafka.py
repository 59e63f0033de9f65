"""Asking Kafka for what the doctor judges; nothing is written, no group is joined."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import TopicPartition

from stream.doctor.facts import Cluster, Group, Topic, Unasked
from stream.errors import SurgelineError, said
from stream.kafka_admin import committed_offsets, working_members
from stream.kafka_security import client_arguments
from stream.offset_ranges import offset_ranges
from stream.settings import Settings
from stream.topics import DEAD_LETTERS, INPUTS, OUTPUTS

REQUESTS: Final = {
    0: "Produce",
    1: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    10: "FindCoordinator",
    11: "JoinGroup",
    12: "Heartbeat",
    13: "LeaveGroup",
    14: "SyncGroup",
    19: "CreateTopics",
}
"""The requests without which no worker works, by the numbers of Kafka's protocol."""

UNTOLD: Final = Unasked("the broker does not tell.")
FETCH_WAIT_MS: Final = 100
PROBE_SECONDS: Final = 2.0
SILENT_SECONDS: Final = 0.5


async def cluster(admin: Any) -> Cluster:
    """Return what the cluster says of itself."""
    found = await admin.describe_cluster()
    client = admin._client  # noqa: SLF001  # the admin client has no method for this request
    versions = await client.send(client.get_random_node(), ApiVersionRequest())
    known = {number for number, *_ in versions.api_versions}
    controller = found["controller_id"]
    return Cluster(
        brokers=len(found["brokers"]),
        controller=None if controller is None or controller < 0 else controller,
        missing_requests=[name for number, name in REQUESTS.items() if number not in known],
    )


async def topics(admin: Any, settings: Settings) -> tuple[dict[str, Topic], dict[str, str]]:
    """Return the topics of Surgeline that exist, and (name -> operation) what was refused.

    Kafka leaves out of a list what may not be described, so what is missing from it is asked
    for by name; with auto-creation off, as that would be writing.
    """
    prefix = settings.topic_prefix
    ours = {prefix + name: name for name in (*INPUTS, *OUTPUTS)}
    listed = {each["topic"]: each for each in await admin.describe_topics()}
    missing = [name for name in ours if name not in listed]
    refused: dict[str, str] = {}
    if missing:
        request = MetadataRequest(missing, allow_auto_topic_creation=False)
        answer = await admin._send_request(request)  # noqa: SLF001  # as above
        for each in answer.to_object()["topics"]:
            if each["error_code"] == TopicAuthorizationFailedError.errno:
                refused[ours[each["topic"]]] = "Describe"
    found = {ours[name]: _topic(each) for name, each in listed.items() if name in ours}
    return found, refused


def _topic(found: Mapping[str, Any]) -> Topic:
    partitions = found["partitions"]
    return Topic(
        partitions=len(partitions),
        leaderless=sum(each["leader"] < 0 for each in partitions),
        under_replicated=sum(len(each["isr"]) < len(each["replicas"]) for each in partitions),
    )


async def configs(
    admin: Any, settings: Settings, names: Iterable[str]
) -> dict[str, dict[str, str]] | Unasked:
    """Return topic (without prefix) -> its settings, or why they could not be had."""
    prefix = settings.topic_prefix
    wanted = [ConfigResource(ConfigResourceType.TOPIC, prefix + name) for name in names]
    if not wanted:
        return {}
    found: dict[str, dict[str, str]] = {}
    try:
        answers = await admin.describe_configs(wanted)
    except (KafkaError, OSError, TimeoutError):
        return UNTOLD
    for each in (each for answer in answers for each in answer.to_object()["resources"]):
        name = each["resource_name"]
        if each["error_code"] == TopicAuthorizationFailedError.errno:
            return Unasked("Kafka does not permit it.", f"DescribeConfigs on topic {name}")
        if not each["error_code"]:
            entries = each["config_entries"]
            found[name.removeprefix(prefix)] = {
                e["config_names"]: e["config_value"] for e in entries
            }
    return found or UNTOLD


async def group(admin: Any, settings: Settings) -> Group | Unasked:
    """Return the workers' consumer group."""
    try:
        answers = await admin.describe_consumer_groups([settings.group])
    except CoordinatorNotAvailableError:
        return Group("Dead", 0)  # no group has ever committed on this cluster
    groups = [each for answer in answers for each in answer.to_object()["groups"]]
    for each in groups:
        if each["error_code"]:
            raise for_code(each["error_code"])
    return Group(groups[0]["state"] if groups else "Dead", working_members(groups))


async def has_offsets(settings: Settings, existing: Mapping[str, Topic]) -> bool:
    """Tell whether the group has ever committed an offset of an input topic."""
    inputs = {name: existing[name].partitions for name in INPUTS if name in existing}
    if not inputs:
        return False
    names = [settings.topic_prefix + name for name in inputs]
    return bool(await committed_offsets(settings, names, max(inputs.values())))


class LogReader:
    """Reads ends and records of logs, in no group."""

    def __init__(self, settings: Settings, existing: Mapping[str, Topic]) -> None:
        self._prefix = settings.topic_prefix
        self._topics = existing
        self._consumer = AIOKafkaConsumer(
            **client_arguments(settings),
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )

    async def start(self) -> None:
        """Connect."""
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def ranges(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Return (topic, partition) -> (oldest offset, next offset) of the input topics."""
        tps = [tp for name in INPUTS for tp in self._partitions(name)]
        found = await offset_ranges(self._consumer, tps)
        return {self._ours(tp): range_ for tp, range_ in found.items()}

    async def since(self, time_seconds: float) -> int:
        """Return how many dead letters came at or after a time (Unix seconds)."""
        tps = self._partitions(DEAD_LETTERS)
        ends = await self._consumer.end_offsets(tps)
        firsts = await self._consumer.offsets_for_times(
            {tp: int(time_seconds * 1_000) for tp in tps}
        )
        # Some brokers answer "none" as the oldest offset with a timestamp of -1.
        found = {tp: f.offset for tp, f in firsts.items() if f is not None and f.timestamp >= 0}
        return sum(max(0, ends[tp] - offset) for tp, offset in found.items())

    async def silent(self, fences: Mapping[tuple[str, int], int]) -> frozenset[tuple[str, int]]:
        """Return where no record can be fetched from just below the fence on.

        Some brokers report the end of a log seconds late, so the log itself is asked.
        """
        starts = {self._theirs(at): offset - 1 for at, offset in fences.items()}
        waiting = set(starts)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + PROBE_SECONDS
        if waiting:
            self._consumer.assign(list(waiting))
            for tp, offset in starts.items():
                self._consumer.seek(tp, offset)
        while waiting and loop.time() < give_up_at:
            try:
                fetched = await self._consumer.getmany(timeout_ms=FETCH_WAIT_MS)
            except KafkaError:  # out of range: there is nothing, and others are asked on
                continue
            waiting -= fetched.keys()
        return frozenset(self._ours(tp) for tp in waiting)

    async def refused(self) -> dict[str, str]:
        """Return input topic -> Read for those that this user may not read."""
        tps = [tp for name in INPUTS for tp in self._partitions(name)]
        found: set[str] = set()
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + PROBE_SECONDS
        while tps and loop.time() < give_up_at:
            self._consumer.assign(tps)
            await self._consumer.seek_to_end(*tps)
            try:
                await self._consumer.getmany(timeout_ms=int(SILENT_SECONDS * 1_000))
            except TopicAuthorizationFailedError as error:
                found |= _named(error) & {tp.topic for tp in tps}
                tps = [tp for tp in tps if tp.topic not in found]
            else:
                break
        return {name.removeprefix(self._prefix): "Read" for name in found}

    def _partitions(self, name: str) -> list[TopicPartition]:
        topic = self._topics.get(name)
        count = 0 if topic is None else topic.partitions
        return [self._theirs((name, number)) for number in range(count)]

    def _theirs(self, at: tuple[str, int]) -> TopicPartition:
        return TopicPartition(self._prefix + at[0], at[1])

    def _ours(self, tp: TopicPartition) -> tuple[str, int]:
        return tp.topic.removeprefix(self._prefix), tp.partition


def _named(error: TopicAuthorizationFailedError) -> set[str]:
    """Return the topics that *error* is about."""
    found: set[str] = set()
    for part in error.args:
        found |= {part} if isinstance(part, str) else set(part)
    return found


def why_not(error: SurgelineError | KafkaError, settings: Settings) -> Unasked:
    """Return the fact that could not be had because of *error*, with the rule that is missing."""
    cause = error if isinstance(error, KafkaError) else error.__cause__
    if isinstance(cause, GroupAuthorizationFailedError):
        rule = f"Describe on group {settings.group}"
    elif isinstance(cause, TopicAuthorizationFailedError):
        rule = f"Describe on topics {settings.topic_prefix}*"
    elif isinstance(cause, ClusterAuthorizationFailedError):
        rule = "Describe on the cluster"
    else:
        own = isinstance(error, SurgelineError)
        return Unasked(str(error) if own else f"Kafka answers {said(error)}.")
    return Unasked("Kafka does not permit it.", rule)
