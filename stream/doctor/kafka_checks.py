"""Judging a Kafka and its topics: pure functions of facts."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from stream.doctor.facts import Check, Facts, Level, Topic, Unasked
from stream.doctor.redis_checks import unasked
from stream.topics import (
    ALERTS,
    COMPACTED,
    DEAD_LETTERS,
    INPUTS,
    KEPT_FOREVER,
    OUTPUTS,
    SCORE_CHANGES,
    WEEK_MS,
)

EVENT_WEEKS: Final = 13
NAMED: Final = 4
"""How many topics a sentence names before it only counts them."""

_BROKER: Final = "kafka"
_TOPICS: Final = "topics"
_PARTITIONS: Final = "partitions"
_REPLICAS: Final = "replicas"
_RETENTION: Final = "retention"
_PERMISSIONS: Final = "kafka permissions"
_DEAD_LETTERS: Final = "dead letters"


def kafka_checks(facts: Facts) -> list[Check]:
    """Return what is to be said of the broker and the topics."""
    kafka = facts.kafka
    judges: list[tuple[str, Callable[[Facts, Mapping[str, Topic]], Check]]] = [
        (_TOPICS, _topics),
        (_PARTITIONS, _partitions),
        (_REPLICAS, _replicas),
        (_RETENTION, _retention),
        (_PERMISSIONS, _permissions),
        (_DEAD_LETTERS, _dead_letters),
    ]
    topics = kafka.topics
    if isinstance(topics, Unasked):
        return [_broker(facts), *(unasked(name, topics) for name, _ in judges)]
    return [_broker(facts), *(judge(facts, topics) for _, judge in judges)]


def _broker(facts: Facts) -> Check:
    cluster = facts.kafka.cluster
    at = facts.wanted.kafka
    if isinstance(cluster, Unasked):
        if cluster.rule:
            return unasked(_BROKER, cluster)
        return Check(
            _BROKER, Level.PROBLEM, cluster.why, f"Start Kafka at {at}, or set SURGELINE_KAFKA_URL."
        )
    if cluster.missing_requests:
        return Check(
            _BROKER,
            Level.PROBLEM,
            f"The broker does not know {', '.join(cluster.missing_requests)}.",
            "Use Apache Kafka 4, or a broker that speaks its protocol.",
        )
    if cluster.controller is None:
        return Check(
            _BROKER,
            Level.PROBLEM,
            "Kafka has no controller: topics cannot be declared, nor leaders elected.",
            "See to its controllers: their quorum is gone.",
        )
    brokers = "1 broker" if cluster.brokers == 1 else f"{cluster.brokers} brokers"
    return Check(
        _BROKER, Level.OK, f"Kafka answers at {at}: {brokers}, controller {cluster.controller}."
    )


def _topics(facts: Facts, topics: Mapping[str, Topic]) -> Check:
    missing = [n for n in (*INPUTS, *OUTPUTS) if n not in topics and n not in facts.kafka.refused]
    if not missing:
        return Check(_TOPICS, Level.OK, f"All {len(topics)} topics are declared.")
    if not topics and not facts.kafka.refused:
        return Check(
            _TOPICS,
            Level.WARNING,
            "No topic is declared yet.",
            "Start a worker, or run `surgeline topics --create`.",
        )
    return Check(
        _TOPICS,
        Level.PROBLEM,
        f"Missing: {_listed(facts, missing)}.",
        "Run `surgeline topics --create`, then restart the workers.",
    )


def _partitions(facts: Facts, topics: Mapping[str, Topic]) -> Check:
    by_count: dict[int, list[str]] = defaultdict(list)
    for name in INPUTS:
        if name in topics:
            by_count[topics[name].partitions].append(name)
    if not by_count:
        return Check(_PARTITIONS, Level.UNKNOWN, "Not checked: no input topic is declared.")
    if len(by_count) > 1:
        each = "; ".join(f"{n}: {_listed(facts, names)}" for n, names in sorted(by_count.items()))
        return Check(
            _PARTITIONS,
            Level.PROBLEM,
            f"The input topics differ in their number of partitions ({each}).",
            "Delete and recreate those that differ, or set another SURGELINE_TOPIC_PREFIX: an "
            "account's events must meet in one partition.",
        )
    (count,) = by_count
    small = [n for n in (SCORE_CHANGES, ALERTS) if n in topics and topics[n].partitions < count]
    if small:
        return Check(
            _PARTITIONS,
            Level.PROBLEM,
            f"Fewer than the {count} partitions of the input topics: {_listed(facts, small)}.",
            "Add partitions to them.",
        )
    return Check(_PARTITIONS, Level.OK, f"All input topics have {count} partitions.")


def _replicas(facts: Facts, topics: Mapping[str, Topic]) -> Check:
    if not topics:
        return Check(_REPLICAS, Level.UNKNOWN, "Not checked: no topic is declared.")
    leaderless = [name for name, topic in topics.items() if topic.leaderless]
    if leaderless:
        return Check(
            _REPLICAS,
            Level.PROBLEM,
            f"Partitions without a leader: {_listed(facts, leaderless)}.",
            "Bring back the brokers that hold them.",
        )
    behind = [name for name, topic in topics.items() if topic.under_replicated]
    if behind:
        return Check(
            _REPLICAS,
            Level.WARNING,
            f"Partitions with replicas missing: {_listed(facts, behind)}.",
            "See to the brokers that are away or behind.",
        )
    return Check(_REPLICAS, Level.OK, "Every partition has its leader and its replicas.")


def _retention(facts: Facts, topics: Mapping[str, Topic]) -> Check:
    kafka = facts.kafka
    if not topics:
        return Check(_RETENTION, Level.UNKNOWN, "Not checked: no topic is declared.")
    if kafka.configs is not None:
        return unasked(_RETENTION, kafka.configs)
    return _kept(facts, topics)


def _kept(facts: Facts, topics: Mapping[str, Topic]) -> Check:
    told = {name: topic.config for name, topic in topics.items() if topic.config is not None}
    compacted = [n for n in INPUTS if "compact" in told.get(n, {}).get("cleanup.policy", "")]
    if compacted:
        return Check(
            _RETENTION,
            Level.PROBLEM,
            f"Input topics are compacted: {_listed(facts, compacted)}.",
            "Set cleanup.policy=delete: compaction lets one record of an account erase another.",
        )
    short = [name for name in INPUTS if name in told and _is_short(name, told[name])]
    if short:
        return Check(
            _RETENTION,
            Level.WARNING,
            f"Kept for too short a time to rebuild all scores: {_listed(facts, short)}.",
            "Set retention.ms and retention.bytes to -1 for accounts, contacts and opportunities, "
            f"and to at least {EVENT_WEEKS} weeks and -1 for the others.",
        )
    growing = [n for n in sorted(COMPACTED) if _is_not_compacted(told.get(n))]
    if growing:
        return Check(
            _RETENTION,
            Level.WARNING,
            f"Not compacted: {_listed(facts, growing)}.",
            "Set cleanup.policy=compact, so that the newest of each key is kept.",
        )
    untold = [n for n in INPUTS if n in topics and not _tells(told.get(n))]
    if untold:
        return Check(_RETENTION, Level.UNKNOWN, "Not checked: the broker does not tell.")
    return Check(_RETENTION, Level.OK, "Topics are kept as long as scores can be rebuilt.")


def _tells(config: Mapping[str, str] | None) -> bool:
    return config is not None and {"cleanup.policy", "retention.ms"} <= config.keys()


def _is_short(name: str, config: Mapping[str, str]) -> bool:
    if "cleanup.policy" in config and "delete" not in config["cleanup.policy"]:
        return False
    kept_ms = int(config.get("retention.ms", "-1"))
    wanted_ms = float("inf") if name in KEPT_FOREVER else EVENT_WEEKS * WEEK_MS
    limited = int(config.get("retention.bytes", "-1")) >= 0
    return limited or 0 <= kept_ms < wanted_ms


def _is_not_compacted(config: Mapping[str, str] | None) -> bool:
    return config is not None and "compact" not in config.get("cleanup.policy", "compact")


def _permissions(facts: Facts, _topics: Mapping[str, Topic]) -> Check:
    kafka = facts.kafka
    missing = [
        f"{operation} on topic {facts.wanted.prefix}{name}"
        for name, operation in sorted(kafka.refused.items())
    ]
    missing += [
        each.rule
        for each in (kafka.group, kafka.group_has_offsets)
        if isinstance(each, Unasked) and each.rule
    ]
    missing = list(dict.fromkeys(missing))
    if missing:
        return Check(
            _PERMISSIONS,
            Level.PROBLEM,
            f"Kafka refuses {_some(missing)}.",
            "Add ACLs that allow it to the workers' user.",
        )
    return Check(_PERMISSIONS, Level.OK, "Topics and group may be read; writing was not tried.")


def _dead_letters(facts: Facts, topics: Mapping[str, Topic]) -> Check:
    count = facts.kafka.dead_letters
    if DEAD_LETTERS not in topics:
        return Check(_DEAD_LETTERS, Level.UNKNOWN, "Not checked: their topic is not declared.")
    if isinstance(count, Unasked):
        return unasked(_DEAD_LETTERS, count)
    if count:
        records = "1 record" if count == 1 else f"{count} records"
        return Check(
            _DEAD_LETTERS,
            Level.WARNING,
            f"{records} came there in the last 24 hours.",
            "See `surgeline dead-letters list` for what broke the contract, and why.",
        )
    return Check(_DEAD_LETTERS, Level.OK, "None in the last 24 hours.")


def _listed(facts: Facts, names: Iterable[str]) -> str:
    return _some([facts.wanted.prefix + name for name in names])


def _some(names: list[str]) -> str:
    """Return the first of *names*, and how many more there are.

    >>> _some(["a", "b"]), _some(["a", "b", "c", "d", "e", "f"])
    ('a, b', 'a, b, c, d and 2 more')
    """
    rest = len(names) - NAMED
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {rest} more" if rest > 0 else shown
