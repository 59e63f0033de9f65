"""What the doctor says of the facts that it was given."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream.doctor.asking_redis import worker_commands
from stream.doctor.examination import diagnose, is_well
from stream.doctor.facts import (
    Check,
    Cluster,
    Facts,
    Group,
    KafkaFacts,
    Level,
    RedisFacts,
    RedisServer,
    Stored,
    Topic,
    Unasked,
    Wanted,
)
from stream.state_store import Fence
from stream.topics import INPUTS, topic_specs

STREAM = Path(__file__).parents[2] / "stream"

META = {"partitions": "2", "clock": "wall", "format": "2", "digest": "abc"}
WANTED = Wanted("k:9092", "r:6379/0", "team", "p.", 2, "wall", 1, "abc")
SERVER = RedisServer((7, 2, 0), "noeviction", 10, 100, 1_000, append_only=True, snapshots=False)
FENCES = {0: Fence(5, {"emails": 10}), 1: Fence(7, {"emails": 20})}
STORED = Stored(META, any_keys=True, fences=FENCES, fences_later=FENCES)
TOPICS = {spec.name: Topic(2, config=spec.config) for spec in topic_specs()}
RANGES = {("emails", 0): (0, 10), ("emails", 1): (5, 20), ("chats", 0): (0, 0)}
REDIS = RedisFacts(SERVER, 0.1, [], STORED)
KAFKA = KafkaFacts(Cluster(1, 1), TOPICS, group=Group("Stable", 1), ranges=RANGES)
WELL = Facts(WANTED, REDIS, KAFKA)
AWAY = Unasked("It does not answer.")
NO_KAFKA = KafkaFacts(AWAY, AWAY, group=AWAY, group_has_offsets=AWAY, ranges=AWAY)
NO_REDIS = RedisFacts(AWAY, AWAY, AWAY, AWAY)


def server(**fields: Any) -> Facts:
    return replace(WELL, redis=replace(REDIS, server=replace(SERVER, **fields)))


def redis_says(**fields: Any) -> Facts:
    return replace(WELL, redis=replace(REDIS, **fields))


def kafka_says(**fields: Any) -> Facts:
    return replace(WELL, kafka=replace(KAFKA, **fields))


def stored(**fields: Any) -> Facts:
    return redis_says(stored=replace(STORED, **fields))


def topic(name: str, **fields: Any) -> Facts:
    return kafka_says(topics=TOPICS | {name: replace(TOPICS[name], **fields)})


def configured(name: str, **config: str) -> Facts:
    return topic(name, config={key.replace("_", "."): value for key, value in config.items()})


def check(facts: Facts, name: str) -> Check:
    (found,) = (each for each in diagnose(facts) if each.name == name)
    return found


def later(*offsets: int) -> dict[int, Fence]:
    return {shard: Fence(9, {"emails": at}) for shard, at in enumerate(offsets)}


BEHIND = {**RANGES, ("emails", 0): (0, 1_010)}
WEEK = str(7 * 86_400_000)

# facts, the check that they are about, its level, and words of what it says
CASES: dict[str, tuple[Facts, str, str, str]] = {
    "old redis": (server(version=(6, 2, 1)), "redis", "problem", "6.2.1 is too old"),
    "replica": (server(replica=True), "redis", "problem", "replica"),
    "loading": (server(loading=True), "redis", "problem", "loading"),
    "redis away": (redis_says(server=AWAY), "redis", "problem", "does not answer"),
    "info refused": (
        redis_says(server=Unasked("No.", "+info")),
        "redis",
        "unknown",
        "Allow it: +info",
    ),
    "evicts": (server(policy="allkeys-lru"), "redis eviction", "problem", "allkeys-lru"),
    "evicts ids": (server(policy="volatile-ttl"), "redis eviction", "problem", "noeviction"),
    "nearly full": (server(used_bytes=80), "redis memory", "warning", "80% of maxmemory"),
    "full": (server(used_bytes=95), "redis memory", "problem", "95%"),
    "room": (server(used_bytes=79), "redis memory", "ok", "79%"),
    "no limit": (server(limit_bytes=0, used_bytes=10), "redis memory", "ok", "machine's memory"),
    "machine full": (server(limit_bytes=0, used_bytes=990), "redis memory", "problem", "99%"),
    "nothing known": (server(limit_bytes=0, system_bytes=0), "redis memory", "ok", "no limit"),
    "no disk": (server(append_only=False), "redis persistence", "warning", "nothing on disk"),
    "snapshots": (server(append_only=False, snapshots=True), "redis persistence", "ok", "snap"),
    "untold": (
        server(append_only=False, snapshots=None),
        "redis persistence",
        "unknown",
        "+config",
    ),
    "disk full": (server(writing_failed=True), "redis persistence", "problem", "could not write"),
    "commands refused": (
        redis_says(refused=["SCRIPT|LOAD", "HSET"]),
        "redis permissions",
        "problem",
        "~sl:* +script|load +hset",
    ),
    "scripts refused": (
        redis_says(refused=Unasked("Redis does not permit EVALSHA.", "+evalsha")),
        "redis permissions",
        "problem",
        "Allow it: +evalsha",
    ),
    "clock ahead": (redis_says(ahead_seconds=2.5), "clock", "warning", "2.5 s ahead of"),
    "clock behind": (redis_says(ahead_seconds=-60.0), "clock", "warning", "60.0 s behind"),
    "clock": (redis_says(ahead_seconds=-1.9), "clock", "ok", "1.9 s"),
    "kafka away": (replace(WELL, kafka=NO_KAFKA), "kafka", "problem", "does not answer"),
    "no controller": (kafka_says(cluster=Cluster(3, None)), "kafka", "problem", "controller"),
    "old broker": (
        kafka_says(cluster=Cluster(1, 1, ["CreateTopics"])),
        "kafka",
        "problem",
        "CreateTopics",
    ),
    "no topics": (kafka_says(topics={}, ranges={}), "topics", "warning", "No topic"),
    "missing topics": (
        kafka_says(topics={n: t for n, t in TOPICS.items() if n not in ("emails", "alerts")}),
        "topics",
        "problem",
        "Missing: p.emails, p.alerts.",
    ),
    "refused topic": (
        kafka_says(
            topics={n: t for n, t in TOPICS.items() if n != "emails"},
            refused={"emails": "Describe"},
        ),
        "kafka permissions",
        "problem",
        "Describe on topic p.emails",
    ),
    "refused group": (
        kafka_says(group=Unasked("No.", "Describe on group team")),
        "kafka permissions",
        "problem",
        "Describe on group team",
    ),
    "unequal": (topic("chats", partitions=3), "partitions", "problem", "3: p.chats"),
    "small output": (topic("alerts", partitions=1), "partitions", "problem", "p.alerts"),
    "large output": (topic("alerts", partitions=9), "partitions", "ok", "2 partitions"),
    "leaderless": (topic("spend", leaderless=1), "replicas", "problem", "p.spend"),
    "replicas": (topic("spend", under_replicated=1), "replicas", "warning", "p.spend"),
    "compacted": (
        configured("contacts", cleanup_policy="compact,delete", retention_ms="-1"),
        "retention",
        "problem",
        "p.contacts",
    ),
    "short": (
        configured("emails", cleanup_policy="delete", retention_ms=WEEK),
        "retention",
        "warning",
        "p.emails",
    ),
    "thirteen weeks": (
        configured("emails", cleanup_policy="delete", retention_ms=str(13 * int(WEEK))),
        "retention",
        "ok",
        "",
    ),
    "accounts end": (
        configured("accounts", cleanup_policy="delete", retention_ms=str(14 * int(WEEK))),
        "retention",
        "warning",
        "p.accounts",
    ),
    "by size": (
        configured("emails", cleanup_policy="delete", retention_ms="-1", retention_bytes="1000"),
        "retention",
        "warning",
        "retention.bytes",
    ),
    "not compacted": (
        configured("score-changes", cleanup_policy="delete"),
        "retention",
        "warning",
        "Not compacted: p.score-changes",
    ),
    "configs untold": (
        kafka_says(configs=Unasked("the broker does not tell.")),
        "retention",
        "unknown",
        "Not checked: the broker does not tell.",
    ),
    "half told": (configured("emails"), "retention", "unknown", "does not tell"),
    "configs refused": (
        kafka_says(configs=Unasked("Kafka does not permit it.", "DescribeConfigs on topic p.a")),
        "retention",
        "unknown",
        "Allow it: DescribeConfigs on topic p.a",
    ),
    "dead letters": (kafka_says(dead_letters=3), "dead letters", "warning", "3 records"),
    "other clock": (stored(meta=META | {"clock": "event"}), "scores", "problem", "clock event"),
    "other model": (stored(meta=META | {"digest": "xyz"}), "scores", "problem", "digest xyz"),
    "other format": (stored(meta=META | {"format": "0"}), "scores", "problem", "format 0"),
    "other partitions": (
        stored(meta=META | {"partitions": "8"}),
        "scores",
        "problem",
        "partitions 8, these settings have 2",
    ),
    "leftovers": (stored(meta={}), "scores", "problem", "without sl:meta"),
    "emptied": (
        replace(
            redis_says(stored=Stored({}, any_keys=False)),
            kafka=replace(KAFKA, group_has_offsets=True),
        ),
        "scores",
        "problem",
        "group team has scored before",
    ),
    "new": (redis_says(stored=Stored({}, any_keys=False)), "scores", "warning", "Nothing"),
    "gone": (
        kafka_says(ranges={**RANGES, ("emails", 0): (15, 30)}),
        "fences",
        "problem",
        "Records 10 to 14 of p.emails/0 are gone",
    ),
    "other cluster": (
        kafka_says(ranges={**RANGES, ("emails", 0): (0, 3)}, beyond_end=frozenset({("emails", 0)})),
        "fences",
        "problem",
        "p.emails/0 is scored up to offset 10, but its log ends at 3",
    ),
    "late end": (kafka_says(ranges={**RANGES, ("emails", 0): (0, 3)}), "fences", "ok", ""),
    "no worker": (kafka_says(group=Group("Empty", 0)), "workers", "warning", "No worker"),
    "no worker, work": (
        kafka_says(group=Group("Empty", 0), ranges=BEHIND),
        "workers",
        "problem",
        "1000 records wait",
    ),
    "still": (kafka_says(ranges=BEHIND), "workers", "warning", "no fence moved"),
    "moving": (
        replace(stored(fences_later=later(50, 20)), kafka=replace(KAFKA, ranges=BEHIND)),
        "workers",
        "ok",
        "1000 records wait",
    ),
    "far behind": (
        replace(
            stored(fences_later=later(50, 20)),
            kafka=replace(KAFKA, ranges={("emails", 0): (0, 200_010)}),
        ),
        "workers",
        "warning",
        "200000 records wait",
    ),
    "untold and still": (
        kafka_says(group=Group("Stable", None), ranges=BEHIND),
        "workers",
        "unknown",
        "does not tell whether a worker runs",
    ),
    "untold but moving": (
        replace(
            stored(fences_later=later(50, 20)),
            kafka=replace(KAFKA, group=Group("Stable", None), ranges=BEHIND),
        ),
        "workers",
        "ok",
        "The fences move",
    ),
    "announcing": (
        stored(waiting={0: [3]}, waiting_later={0: [9]}),
        "outbox",
        "ok",
        "being announced",
    ),
    "stuck": (
        stored(waiting={0: [], 1: [3, 4]}, waiting_later={0: [1], 1: [3, 4, 5]}),
        "outbox",
        "warning",
        "shard 1",
    ),
    "left over": (
        replace(stored(waiting_later={0: [3]}), kafka=replace(KAFKA, group=Group("Empty", 0))),
        "outbox",
        "warning",
        "no worker runs",
    ),
    "due": (stored(overdue=5, overdue_later=5), "due queue", "warning", "5 accounts"),
    "due, worked on": (stored(overdue=5, overdue_later=4), "due queue", "ok", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_finding_has_its_level_and_says_why(case: str) -> None:
    facts, name, level, words = CASES[case]

    found = check(facts, name)

    assert found.level.value == level, found
    assert words in f"{found.found} {found.do}"


@pytest.mark.parametrize("case", CASES)
def test_whatever_is_wrong_comes_with_what_to_do(case: str) -> None:
    found = check(CASES[case][0], CASES[case][1])

    if found.level in (Level.WARNING, Level.PROBLEM):
        assert found.do.endswith(".")
    assert found.found.endswith(".")


def test_nothing_is_said_against_what_is_well() -> None:
    assert {each.level for each in diagnose(WELL)} == {Level.OK}
    assert is_well(diagnose(WELL))


def test_warnings_alone_are_well() -> None:
    assert is_well(diagnose(server(append_only=False)))


def test_one_problem_is_not_well() -> None:
    assert not is_well(diagnose(server(policy="allkeys-lru")))


def test_everything_is_listed_whatever_answers() -> None:
    names = [each.name for each in diagnose(WELL)]

    for facts in (
        replace(WELL, kafka=NO_KAFKA),
        replace(WELL, redis=NO_REDIS),
        Facts(WANTED, NO_REDIS, NO_KAFKA),
    ):
        assert [each.name for each in diagnose(facts)] == names


def test_what_cannot_be_asked_is_unknown_and_no_problem() -> None:
    found = diagnose(Facts(WANTED, NO_REDIS, NO_KAFKA))

    problems = [each.name for each in found if each.level is Level.PROBLEM]
    assert problems == ["kafka", "redis"]
    assert {each.level for each in found} == {Level.PROBLEM, Level.UNKNOWN}


def test_data_that_is_gone_is_a_warning_where_going_on_was_chosen() -> None:
    facts = kafka_says(ranges={**RANGES, ("emails", 0): (15, 30)})
    chosen = replace(facts, wanted=replace(WANTED, on_data_gone="continue"))

    assert check(chosen, "fences").level is Level.WARNING


def test_emptied_redis_is_no_problem_where_replay_was_chosen() -> None:
    facts = CASES["emptied"][0]
    chosen = replace(facts, wanted=replace(WANTED, on_missing_state="replay"))

    assert check(chosen, "scores").level is Level.WARNING


def test_many_topics_are_counted_after_the_first() -> None:
    missing = kafka_says(topics={"alerts": TOPICS["alerts"]})

    assert f"and {len(TOPICS) - 1 - 4} more" in check(missing, "topics").found


def test_partitions_of_missing_inputs_are_not_judged() -> None:
    assert check(kafka_says(topics={}), "partitions").level is Level.UNKNOWN
    assert INPUTS[0] in TOPICS


def test_every_command_of_the_scripts_is_asked_about() -> None:
    asked = {command[0] for command in worker_commands()}
    sent: set[str] = set()
    for script in STREAM.glob("*.lua"):
        sent |= set(re.findall(r"redis\.call\('([A-Z]+)'", script.read_text(encoding="utf-8")))

    assert sent
    assert sent <= asked
