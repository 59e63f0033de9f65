"""What the doctor found out, and what it says of it: values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stream.state_store import Fence


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    """It works; it may not for long, or not as well as it could."""
    PROBLEM = "problem"
    """Something does not work, or scores would be wrong or lost."""
    UNKNOWN = "unknown"
    """Could not be found out."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding."""

    name: str
    level: Level
    found: str
    """One sentence: what is so."""
    do: str = ""
    """One sentence: what to do about it; empty when there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Unasked:
    """A fact that could not be had."""

    why: str
    """One sentence."""
    rule: str = ""
    """The permission that is missing, where that is why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the present settings and model say."""

    kafka: str
    redis: str
    """Where it is, without a password."""
    group: str
    prefix: str
    partitions: int
    """Of topics that are still to be declared."""
    clock: str
    format: int
    digest: str
    on_missing_state: str = "stop"
    on_data_gone: str = "stop"


@dataclass(frozen=True, slots=True)
class RedisServer:
    """What a Redis says of itself."""

    version: tuple[int, ...]
    policy: str
    """What it does when it is full."""
    used_bytes: int
    limit_bytes: int
    """0: none."""
    system_bytes: int
    """Memory of its machine, 0 when not told."""
    append_only: bool
    snapshots: bool | None
    """Whether it takes any by itself; None when it does not say."""
    writing_failed: bool = False
    """Of the file or snapshot that it wrote last."""
    replica: bool = False
    loading: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """What one Surgeline has stored, read twice, some seconds apart."""

    meta: Mapping[str, str]
    any_keys: bool
    fences: Mapping[int, Fence] = field(default_factory=dict)
    fences_later: Mapping[int, Fence] = field(default_factory=dict)
    waiting: Mapping[int, list[int]] = field(default_factory=dict)
    """Shard -> sequence numbers in its outbox, oldest first."""
    waiting_later: Mapping[int, list[int]] = field(default_factory=dict)
    overdue: int = 0
    """Accounts that should have been looked at minutes ago."""
    overdue_later: int = 0

    @property
    def partitions(self) -> int:
        """Return the recorded number of shards, 0 without any."""
        text = self.meta.get("partitions", "0")
        return int(text) if text.isdecimal() else 0

    @property
    def moved(self) -> int:
        """Return how many records were committed between the two readings."""
        return sum(
            offset - self.fences[shard].offsets.get(topic, 0)
            for shard, later in self.fences_later.items()
            if shard in self.fences
            for topic, offset in later.offsets.items()
        )


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """All that was asked of Redis."""

    server: RedisServer | Unasked
    ahead_seconds: float | Unasked
    """Its clock minus ours."""
    refused: list[str] | Unasked
    """Commands that a worker needs and may not use on ``sl:*``."""
    stored: Stored | Unasked


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a Kafka cluster says of itself."""

    brokers: int
    controller: int | None
    missing_requests: list[str] = field(default_factory=list)
    """Kinds of requests that a worker sends and the broker does not know."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it is."""

    partitions: int
    leaderless: int = 0
    under_replicated: int = 0
    config: Mapping[str, str] | None = None
    """None where the broker does not tell."""


@dataclass(frozen=True, slots=True)
class Group:
    """The consumer group of the workers."""

    state: str
    members: int | None
    """None where the broker cannot say."""


@dataclass(frozen=True, slots=True)
class KafkaFacts:
    """All that was asked of Kafka; topic names are without the prefix."""

    cluster: Cluster | Unasked
    topics: Mapping[str, Topic] | Unasked
    refused: Mapping[str, str] = field(default_factory=dict)
    """Topic -> operation that was refused."""
    configs: Unasked | None = None
    """Why the settings of topics could not be had, None when they could."""
    group: Group | Unasked = Unasked("Kafka was not asked.")
    group_has_offsets: bool | Unasked = False
    ranges: Mapping[tuple[str, int], tuple[int, int]] | Unasked = field(default_factory=dict)
    """(topic, partition) -> (oldest offset, next offset)."""
    beyond_end: frozenset[tuple[str, int]] = frozenset()
    """Where the fence lies above the end of the log and nothing can be fetched below it."""
    dead_letters: int | Unasked = 0
    """Records of their topic in the last 24 hours; receipts of replayed ones are among them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is judged."""

    wanted: Wanted
    redis: RedisFacts
    kafka: KafkaFacts
