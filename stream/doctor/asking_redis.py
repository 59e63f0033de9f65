"""Asking Redis for what the doctor judges; nothing is written."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any, Final

import redis.exceptions

from stream.doctor.facts import RedisServer, Stored, Unasked
from stream.doctor.score_checks import OVERDUE_SECONDS
from stream.errors import SurgelineError
from stream.redis_access import let_in
from stream.state_store import Fence, RedisStore, account_key, shard_prefix, state_key

OVERDUE_COUNTED: Final = 1_000
MICROSECONDS: Final = 1e6

# Asked inside of a script, so that nothing has to be tried; that a script runs is a check by itself.
_REFUSED_COMMANDS: Final = """#!lua flags=no-writes
local refused = {}
for i, command in ipairs(cjson.decode(ARGV[1])) do
  if not redis.acl_check_cmd(unpack(command)) then refused[#refused + 1] = i end
end
return refused
"""


def worker_commands() -> list[list[str]]:
    """Return one example of every command that a worker sends, as scripts or by itself."""
    fence, due = f"{shard_prefix(0)}fence", f"{shard_prefix(0)}due"
    account, state = account_key(0, "id"), state_key(0, "id")
    return [
        *(["EVALSHA", "0", "1", fence], ["SCRIPT", "LOAD", ""], ["INFO"], ["SCAN", "0"]),
        *(["MULTI"], ["EXEC"], ["HGETALL", fence], ["HSETNX", fence, "seq", "0"]),
        *(["HSET", account, "a", "1"], ["HGET", fence, "a"], ["HMGET", account, "a"]),
        *(["HDEL", fence, "a"], ["HINCRBY", fence, "a", "1"], ["TYPE", fence]),
        *(["EXISTS", state], ["MGET", state], ["SET", state, "a"], ["STRLEN", state]),
        *(["APPEND", state, "a"], ["EXPIRE", state, "1"], ["UNLINK", state]),
        *(["SETRANGE", state, "0", "a"], ["GETRANGE", state, "0", "1"], ["HLEN", fence]),
        *(["ZCARD", due], ["ZRANGE", due, "0", "1"], ["ZREMRANGEBYRANK", due, "0", "1"]),
        *(["ZADD", due, "0", "a"], ["ZREM", due, "a"], ["ZRANGEBYSCORE", due, "0", "1"]),
        *(["ZCOUNT", due, "0", "1"],),
    ]


async def server(store: RedisStore) -> RedisServer:
    """Return what Redis says of itself."""
    info: dict[str, Any] = await let_in(lambda: store.ask(store.client.info()))
    return _server(info, snapshots=await _saves(store))


def _server(info: Mapping[str, Any], *, snapshots: bool | None) -> RedisServer:
    append_only = bool(int(info.get("aof_enabled", 0)))
    last_write = "aof_last_write_status" if append_only else "rdb_last_bgsave_status"
    return RedisServer(
        version=tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:3]),
        policy=str(info.get("maxmemory_policy", "noeviction")),
        used_bytes=int(info.get("used_memory", 0)),
        limit_bytes=int(info.get("maxmemory", 0)),
        system_bytes=int(info.get("total_system_memory", 0)),
        append_only=append_only,
        snapshots=snapshots,
        writing_failed=info.get(last_write, "ok") != "ok",
        replica=info.get("role") == "slave",
        loading=bool(int(info.get("loading", 0))),
    )


async def _saves(store: RedisStore) -> bool | None:
    """Tell whether Redis takes snapshots by itself, None when it does not say."""
    try:
        found = await store.ask(store.client.config_get("save"))
    except SurgelineError:
        return None  # managed servers do not know the command, users may not send it
    return None if "save" not in found else bool(found["save"])


async def ahead_seconds(store: RedisStore) -> float:
    """Return by how much the clock of Redis is ahead of ours, give or take half a round trip."""
    before = time.time()
    # Unlike TIME, workers' users may ask for it.
    info = await let_in(lambda: store.ask(store.client.info("server")))
    after = time.time()
    if "server_time_usec" not in info:
        raise SurgelineError("Redis does not tell its time.")
    return float(info["server_time_usec"]) / MICROSECONDS - (before + after) / 2


async def refused_commands(store: RedisStore) -> list[str]:
    """Return the commands of a worker that this user may not send, or not on ``sl:*``."""
    commands = worker_commands()
    script = store.client.register_script(_REFUSED_COMMANDS)
    refused = await let_in(lambda: store.ask(script(keys=[], args=[json.dumps(commands)])))
    return [
        "|".join(commands[number - 1][: 2 if commands[number - 1][0] == "SCRIPT" else 1])
        for number in refused
    ]


async def stored(store: RedisStore, *, apart_seconds: float) -> Stored:
    """Read what is stored twice, *apart_seconds* apart."""
    meta = await let_in(store.meta)
    if not meta:
        return Stored(meta, await store.holds_keys())
    shards = range(int(meta["partitions"]))
    fences, waiting, overdue = await _reading(store, meta, shards)
    await asyncio.sleep(apart_seconds)
    later = await _reading(store, meta, shards)
    return Stored(meta, True, fences, later[0], waiting, later[1], overdue, later[2])  # noqa: FBT003


async def _reading(
    store: RedisStore, meta: Mapping[str, str], shards: range
) -> tuple[dict[int, Fence], dict[int, list[int]], int]:
    fences = await store.fences(shards)
    waiting, overdue = {}, 0
    for shard, fence in fences.items():
        waiting[shard] = list(await store.outbox(shard))
        now = time.time() if meta.get("clock") == "wall" else fence.time
        if now is not None:
            before = now - OVERDUE_SECONDS
            overdue += len(await store.due(shard, before, OVERDUE_COUNTED))
    return fences, waiting, overdue


def why_not(error: SurgelineError) -> Unasked:
    """Return the fact that could not be had because of *error*, with the rule that is missing."""
    cause = error.__cause__
    if not isinstance(cause, redis.exceptions.NoPermissionError):
        return Unasked(str(error))
    _, _, rest = str(cause).partition("'")
    command = rest.partition("'")[0]
    rule = f"+{command.lower()}" if command else "~sl:*"
    return Unasked(f"Redis does not permit {command.upper() or 'the keys sl:*'}.", rule)
