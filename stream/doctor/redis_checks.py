"""Judging a Redis: pure functions of facts."""

from typing import Final

from stream.doctor.facts import Check, Facts, Level, RedisServer, Unasked
from stream.state_store import OLDEST_REDIS

NEARLY_FULL: Final = 0.8
FULL: Final = 0.95
CLOCK_SECONDS: Final = 2.0

_SERVER: Final = "redis"
_EVICTION: Final = "redis eviction"
_MEMORY: Final = "redis memory"
_DISK: Final = "redis persistence"
_PERMISSIONS: Final = "redis permissions"
_CLOCK: Final = "clock"


def redis_checks(facts: Facts) -> list[Check]:
    """Return what is to be said of the Redis server."""
    server = facts.redis.server
    if isinstance(server, Unasked):
        checks = [_unasked_server(facts, server)]
        checks += [unasked(name, server) for name in (_EVICTION, _MEMORY, _DISK)]
    else:
        checks = [_server(facts, server), _eviction(server), _memory(server), _disk(server)]
    return [*checks, _permissions(facts), _clock(facts)]


def unasked(name: str, why: Unasked) -> Check:
    """Return the check *name* of what could not be found out."""
    do = f"Allow it: {why.rule}." if why.rule else ""
    return Check(name, Level.UNKNOWN, f"Not checked: {why.why}", do)


def _unasked_server(facts: Facts, why: Unasked) -> Check:
    if why.rule:
        return unasked(_SERVER, why)
    return Check(
        _SERVER,
        Level.PROBLEM,
        why.why,
        f"Start Redis at {facts.wanted.redis}, or set SURGELINE_REDIS_URL.",
    )


def _server(facts: Facts, server: RedisServer) -> Check:
    version = ".".join(map(str, server.version))
    if server.version[:2] < OLDEST_REDIS:
        return Check(
            _SERVER,
            Level.PROBLEM,
            f"Redis {version} is too old.",
            "Use Redis 7 or newer, or Valkey.",
        )
    if server.loading:
        return Check(
            _SERVER,
            Level.PROBLEM,
            "Redis is loading its data and answers nothing else.",
            "Wait for it; workers do.",
        )
    if server.replica:
        return Check(
            _SERVER,
            Level.PROBLEM,
            f"Redis at {facts.wanted.redis} is a replica and takes no writes.",
            "Set SURGELINE_REDIS_URL to its primary.",
        )
    return Check(_SERVER, Level.OK, f"Redis {version} answers at {facts.wanted.redis}.")


def _eviction(server: RedisServer) -> Check:
    if server.policy == "noeviction":
        return Check(_EVICTION, Level.OK, "Redis evicts nothing.")
    return Check(
        _EVICTION,
        Level.PROBLEM,
        f"maxmemory-policy is {server.policy}: a full Redis forgets accounts or event ids.",
        "Set maxmemory-policy to noeviction.",
    )


def _memory(server: RedisServer) -> Check:
    limit = server.limit_bytes or server.system_bytes
    what = "maxmemory" if server.limit_bytes else "the machine's memory (maxmemory is not set)"
    if not limit:
        return Check(
            _MEMORY, Level.OK, f"Redis uses {_megabytes(server.used_bytes)}, no limit set."
        )
    share = server.used_bytes / limit
    found = f"Redis uses {_megabytes(server.used_bytes)}, {share:.0%} of {what}."
    if share >= NEARLY_FULL:
        return Check(
            _MEMORY,
            Level.PROBLEM if share >= FULL else Level.WARNING,
            found,
            "Give Redis more memory: full, it takes no commits and the workers wait.",
        )
    return Check(_MEMORY, Level.OK, found)


def _megabytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _disk(server: RedisServer) -> Check:
    if server.writing_failed:
        return Check(
            _DISK,
            Level.PROBLEM,
            "Redis could not write its file the last time that it tried.",
            "See to its disk: space, permissions, its log.",
        )
    if server.append_only:
        return Check(_DISK, Level.OK, "Redis appends every write to its file.")
    if server.snapshots:
        return Check(_DISK, Level.OK, "Redis takes snapshots; what is lost is scored again.")
    if server.snapshots is None:
        return Check(
            _DISK,
            Level.UNKNOWN,
            "Redis keeps no append-only file and does not say whether it takes snapshots.",
            "Allow it: +config|get.",
        )
    return Check(
        _DISK,
        Level.WARNING,
        "Redis keeps nothing on disk: after a restart all scores are gone.",
        "Set appendonly yes; else keep backups, or rebuild from Kafka as far back as it goes.",
    )


def _permissions(facts: Facts) -> Check:
    refused = facts.redis.refused
    if isinstance(refused, Unasked):
        if refused.rule:
            return Check(_PERMISSIONS, Level.PROBLEM, refused.why, f"Allow it: {refused.rule}.")
        return unasked(_PERMISSIONS, refused)
    if refused:
        rules = " ".join(f"+{command.lower()}" for command in refused)
        return Check(
            _PERMISSIONS,
            Level.PROBLEM,
            f"Redis refuses {len(refused)} of the commands that workers need on sl:* keys.",
            f"Give this user the rules ~sl:* {rules}.",
        )
    return Check(_PERMISSIONS, Level.OK, "Scripts and all commands of a worker are permitted.")


def _clock(facts: Facts) -> Check:
    ahead = facts.redis.ahead_seconds
    if isinstance(ahead, Unasked):
        return unasked(_CLOCK, ahead)
    if abs(ahead) > CLOCK_SECONDS:
        way = "ahead of" if ahead > 0 else "behind"
        return Check(
            _CLOCK,
            Level.WARNING,
            f"The clock of Redis is {abs(ahead):.1f} s {way} that of this machine.",
            "Let NTP keep the clocks of all machines: scores and due instants follow them.",
        )
    return Check(_CLOCK, Level.OK, f"The clocks differ by {abs(ahead):.1f} s.")
