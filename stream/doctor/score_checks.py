"""Judging what is stored and who works on it: pure functions of facts."""

from collections.abc import Mapping
from typing import Final

from stream.doctor.facts import Check, Facts, Group, Level, Stored, Unasked
from stream.doctor.redis_checks import unasked
from stream.state_store import readable_format
from stream.topics import INPUTS

OVERDUE_SECONDS: Final = 300.0
"""Workers look at what is due every second."""
FAR_BEHIND: Final = 100_000
"""Records that take a worker some seconds."""

_SCORES: Final = "scores"
_FENCES: Final = "fences"
_WORKERS: Final = "workers"
_OUTBOX: Final = "outbox"
_DUE: Final = "due queue"
_REPLAY: Final = "Or start over from Kafka with `surgeline reset --replay`."


def score_checks(facts: Facts) -> list[Check]:
    """Return what is to be said of scores, fences and workers."""
    stored = facts.redis.stored
    if isinstance(stored, Unasked):
        checks = [unasked(name, stored) for name in (_SCORES, _FENCES)]
        return [*checks, _workers(facts, None), unasked(_OUTBOX, stored), unasked(_DUE, stored)]
    return [
        _scores(facts, stored),
        _fences(facts, stored),
        _workers(facts, stored),
        _outbox(facts, stored),
        _due(facts, stored),
    ]


def _scores(facts: Facts, stored: Stored) -> Check:
    if not stored.meta:
        return _without_meta(facts, stored)
    wanted = {
        "format": str(facts.wanted.format),
        "digest": facts.wanted.digest,
        "clock": facts.wanted.clock,
        "partitions": str(_partitions(facts)),
    }
    if readable_format(stored.meta.get("format", "")):
        del wanted["format"]
    for name, value in wanted.items():
        if stored.meta.get(name) != value:
            return Check(
                _SCORES,
                Level.PROBLEM,
                f"The stored scores have {name} {stored.meta.get(name)}, these settings have "
                f"{value}: no worker starts.",
                f"Use the settings and model that made them. {_REPLAY}",
            )
    return Check(_SCORES, Level.OK, "What is stored was made by these settings and this model.")


def _without_meta(facts: Facts, stored: Stored) -> Check:
    if stored.any_keys:
        return Check(
            _SCORES,
            Level.PROBLEM,
            "Redis holds keys of Surgeline without sl:meta: a reset or restore was broken off.",
            "Run `surgeline restore --force FILE` or `surgeline reset --replay`.",
        )
    if facts.kafka.group_has_offsets is True and facts.wanted.on_missing_state == "stop":
        return Check(
            _SCORES,
            Level.PROBLEM,
            f"Redis holds no scores, although group {facts.wanted.group} has scored before: it was "
            "emptied, or is another one.",
            "Run `surgeline restore FILE` or `surgeline reset --replay`.",
        )
    return Check(_SCORES, Level.WARNING, "Nothing is scored yet.", "Start a worker.")


def _partitions(facts: Facts) -> int:
    """Return the partitions that a worker would start with."""
    topics = facts.kafka.topics
    if isinstance(topics, Unasked):
        return _recorded(facts) or facts.wanted.partitions
    counts = [topics[name].partitions for name in INPUTS if name in topics]
    return min(counts, default=facts.wanted.partitions)


def _recorded(facts: Facts) -> int:
    stored = facts.redis.stored
    return 0 if isinstance(stored, Unasked) else stored.partitions


def _fences(facts: Facts, stored: Stored) -> Check:
    ranges = facts.kafka.ranges
    if isinstance(ranges, Unasked):
        return unasked(_FENCES, ranges)
    if not stored.fences or not ranges:
        return Check(
            _FENCES, Level.UNKNOWN, "Not checked: nothing is scored yet, or no log is there."
        )
    prefix = facts.wanted.prefix
    for (topic, partition), offset in sorted(fence_offsets(stored).items()):
        oldest, end = ranges.get((topic, partition), (0, offset))
        at = f"{prefix}{topic}/{partition}"
        if (topic, partition) in facts.kafka.beyond_end:
            return Check(
                _FENCES,
                Level.PROBLEM,
                f"{at} is scored up to offset {offset}, but its log ends at {end}: the topic was "
                "recreated, or this is another cluster.",
                "Set SURGELINE_KAFKA_URL to the cluster that was scored. " + _REPLAY,
            )
        if offset < oldest:
            return _gone(facts, at, offset, oldest)
    return Check(_FENCES, Level.OK, "All that is still to be scored is in Kafka's log.")


def _gone(facts: Facts, at: str, offset: int, oldest: int) -> Check:
    found = f"Records {offset} to {oldest - 1} of {at} are gone: they were deleted unscored."
    if facts.wanted.on_data_gone == "continue":
        return Check(_FENCES, Level.WARNING, found, "Nothing: the next start goes on without them.")
    return Check(
        _FENCES,
        Level.PROBLEM,
        found,
        "Set SURGELINE_ON_DATA_GONE=continue to go on without them.",
    )


def fence_offsets(stored: Stored) -> dict[tuple[str, int], int]:
    """Return (topic, partition) -> next offset to be scored, by the first reading."""
    return {
        (topic, shard): offset
        for shard, fence in stored.fences.items()
        for topic, offset in fence.offsets.items()
    }


def lag(facts: Facts) -> int | None:
    """Return how many records wait to be scored, None when that is not known."""
    stored, ranges = facts.redis.stored, facts.kafka.ranges
    if isinstance(stored, Unasked) or isinstance(ranges, Unasked):
        return None
    offsets = fence_offsets(stored)
    return sum(
        max(0, end - max(oldest, offsets.get((topic, partition), oldest)))
        for (topic, partition), (oldest, end) in ranges.items()
        if topic in INPUTS
    )


def _workers(facts: Facts, stored: Stored | None) -> Check:
    group = facts.kafka.group
    if isinstance(group, Unasked):
        return unasked(_WORKERS, group)
    behind = lag(facts)
    waiting = f"{behind} records wait to be scored" if behind else "nothing waits to be scored"
    if behind is None:
        waiting = "how much waits to be scored is not known"
    if group.members is None:
        return _untold_workers(behind, stored, waiting)
    if group.members == 0:
        return Check(
            _WORKERS,
            Level.PROBLEM if behind else Level.WARNING,
            f"No worker is in group {facts.wanted.group}; {waiting}.",
            "Start one with `surgeline worker`; its last line says why one ended.",
        )
    many = "1 worker is" if group.members == 1 else f"{group.members} workers are"
    found = f"{many} in group {facts.wanted.group}; {waiting}."
    if behind and stored is not None and stored.fences_later and not stored.moved:
        return Check(
            _WORKERS,
            Level.WARNING,
            f"{found[:-1]}, and no fence moved meanwhile.",
            "Look at the workers' /readyz and logs; look again, as a group that just changed "
            "takes some seconds.",
        )
    if behind is not None and behind > FAR_BEHIND:
        return Check(_WORKERS, Level.WARNING, found, "Start more workers if it does not shrink.")
    return Check(_WORKERS, Level.OK, found)


def _untold_workers(behind: int | None, stored: Stored | None, waiting: str) -> Check:
    """Judge by the fences where the broker does not tell who is in the group."""
    if stored is not None and stored.moved:
        return Check(_WORKERS, Level.OK, f"The fences move; {waiting}.")
    if behind == 0:
        return Check(_WORKERS, Level.OK, "Nothing waits to be scored; the broker tells no members.")
    return Check(
        _WORKERS,
        Level.UNKNOWN,
        f"The broker does not tell whether a worker runs; {waiting}, and no fence moved.",
        "Look whether a worker runs.",
    )


def _works(facts: Facts) -> bool:
    group = facts.kafka.group
    return isinstance(group, Group) and group.members != 0


def _outbox(facts: Facts, stored: Stored) -> Check:
    count = sum(map(len, stored.waiting_later.values()))
    if not count:
        return Check(_OUTBOX, Level.OK, "All that was committed is announced.")
    if not _works(facts):
        return Check(
            _OUTBOX,
            Level.WARNING,
            f"{count} commits are not announced, and no worker runs.",
            "Start a worker: it announces them first.",
        )
    stuck = _stuck(stored.waiting, stored.waiting_later)
    if stuck:
        return Check(
            _OUTBOX,
            Level.WARNING,
            f"The oldest of {count} commits is not announced for seconds (shard {stuck[0]}).",
            "Look whether Kafka takes records on score-changes and alerts, and at the workers' logs.",
        )
    return Check(_OUTBOX, Level.OK, f"{count} commits are being announced.")


def _stuck(first: Mapping[int, list[int]], later: Mapping[int, list[int]]) -> list[int]:
    """Return the shards whose oldest entry is the same in both readings."""
    return [s for s in sorted(first) if first[s] and first[s][:1] == later.get(s, [])[:1]]


def _due(facts: Facts, stored: Stored) -> Check:
    if not stored.overdue_later:
        return Check(_DUE, Level.OK, "No account waits to be looked at again.")
    accounts = f"{stored.overdue_later} accounts" if stored.overdue_later > 1 else "1 account"
    found = f"{accounts} should have been looked at again minutes ago"
    if not _works(facts):
        return Check(_DUE, Level.WARNING, f"{found}, and no worker runs.", "Start a worker.")
    if stored.overdue_later >= stored.overdue > 0:
        return Check(
            _DUE,
            Level.WARNING,
            f"{found}, and they do not grow fewer.",
            "Look at the workers' logs; start more workers if they are busy.",
        )
    return Check(_DUE, Level.OK, f"{accounts} are being looked at again.")
