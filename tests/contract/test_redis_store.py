"""What the store promises of Redis alone: faults of the server, and what only a server has."""

import asyncio
import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from scoring.kpis.codes import TOUCH, Code
from scoring.kpis.facts import FACT
from stream.errors import SurgelineError, Unreachable
from stream.fact_logs import FactWrite
from stream.state_store import (
    FACT_LOGS,
    META,
    SEEN_SECONDS,
    Answer,
    Fence,
    RedisStore,
    shard_prefix,
)
from tests.contract.subject import InsideRedis, Subject, account_write, full_write
from tests.servers import RedisServer, require_servers
from tests.system.harness import PATIENCE

REAL = [
    pytest.param("embedded", marks=pytest.mark.embedded),
    pytest.param("kafka", marks=pytest.mark.kafka),
]
ZSETS = ["top:engagement", "top:intent_surge", "top:relationship", "due"]
HASHES = ["fence", "outbox", "funnel", "account:acme"]


class RealSubject(Subject):
    """A shard in Redis, with a client of its own beside the store."""

    def __init__(self, runner: asyncio.Runner, store: RedisStore, url: str) -> None:
        self.redis: Any = redis.Redis.from_url(url)
        self.url = url
        self.store = store
        self.run = runner.run
        self._looking = redis.asyncio.Redis.from_url(url)
        inside = InsideRedis(self._looking)
        super().__init__(runner, store, inside, secrets.randbelow(10**9))

    def close(self) -> None:
        self.run(self.store.close())
        self.run(self._looking.aclose())
        self.redis.close()

    def all_states(self) -> list[bytes]:
        async def read() -> list[bytes]:
            return [state async for state in self.store.all_states(self.shard)]

        return self.run(read())

    def stored_keys(self) -> set[str]:
        found = self.redis.scan_iter(match=self.key("*"), count=1_000)
        return {key.decode() for key in found}

    def key(self, name: str) -> str:
        return shard_prefix(self.shard) + name

    def dumped(self) -> dict[str, bytes]:
        """Return every key of the shard, of whatever type, with its serialised value."""
        return {key: self.redis.dump(key) for key in self.stored_keys()}

    def full_unit(self, seq: int = 0) -> Any:
        """Return a commit that writes every kind of key."""
        offsets = [("chats", None if seq == 0 else 3, 3 + seq)]
        return self.unit(
            seq, offsets=offsets, accounts=[full_write()], time=1.0, announcement=b"entry"
        )


@contextlib.contextmanager
def opened(url: str) -> Iterator[RealSubject]:
    with asyncio.Runner() as runner:
        subject = RealSubject(runner, RedisStore(url), url)
        yield subject
        subject.close()


@pytest.fixture(params=REAL)
def subject(request: pytest.FixtureRequest) -> Iterator[RealSubject]:
    embedded = request.param == "embedded"
    server = request.getfixturevalue("embedded_servers" if embedded else "redis_server")
    with opened(server.redis_url if embedded else server.url) as subject:
        yield subject
        for key in subject.stored_keys():
            subject.redis.delete(key)


@pytest.fixture(params=REAL)
def own_server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RedisServer]:
    """Give a Redis that the test may break, and that keeps what it was told over a restart."""
    if request.param == "embedded":
        monkeypatch.setattr("tests.servers.docker_answers", lambda: False)
    else:
        require_servers(own=True)
    monkeypatch.setattr("stream.state_store.SOCKET_SECONDS", 0.5)
    config = ["appendfsync always", "busy-reply-threshold 50"]
    with RedisServer(append_only=True, config=config, own=True) as server:
        yield server


@pytest.fixture
def own(own_server: RedisServer) -> Iterator[RealSubject]:
    with opened(own_server.url) as subject:
        yield subject


def test_keys_are_where_the_layout_says(subject: RealSubject) -> None:
    subject.claim()

    subject.commit(subject.full_unit())

    names = [*HASHES, *ZSETS, "state:acme", "seen:acme:ad:20000"]
    assert subject.stored_keys() == {subject.key(name) for name in names}


def test_seen_ids_expire_after_their_last_append(subject: RealSubject) -> None:
    key = subject.key("seen:acme:ad:1")
    subject.claim()
    subject.write(0, account_write(fresh=[("ad:1", b"11111111")]))
    first = subject.redis.ttl(key)
    subject.redis.expire(key, 10)

    subject.write(1, account_write(fresh=[("ad:1", b"22222222")]))

    assert SEEN_SECONDS - 60 <= first <= SEEN_SECONDS
    assert SEEN_SECONDS - 60 <= subject.redis.ttl(key) <= SEEN_SECONDS


def test_nothing_but_seen_ids_expires(subject: RealSubject) -> None:
    subject.claim()

    subject.commit(subject.full_unit())

    expiring = {key for key in subject.stored_keys() if subject.redis.ttl(key) != -1}
    assert expiring == {subject.key("seen:acme:ad:20000")}


def test_logs_of_facts_take_little_more_than_their_bytes(subject: RealSubject) -> None:
    subject.claim()
    new = FACT.pack(1.0, 1.0, 1.0, 1, 2, 3, Code.PAGE_VISIT, TOUCH) * 5

    for seq in range(47):  # just after APPEND would have doubled the room
        subject.write(seq, account_write(facts=FactWrite(new, new)))

    for log in FACT_LOGS:
        taken = subject.redis.memory_usage(subject.key(f"{log}:acme"))
        assert 47 * len(new) < taken < 1.3 * 47 * len(new)


@pytest.mark.parametrize("name", [*HASHES, *ZSETS, "seen:acme:ad:20000"])
def test_key_of_a_wrong_type_fails_the_commit_before_it_writes(
    subject: RealSubject, name: str
) -> None:
    subject.claim()
    subject.commit(subject.full_unit(0))
    subject.redis.delete(subject.key(name))
    subject.redis.sadd(subject.key(name), "intruder")
    before = subject.dumped()

    with pytest.raises(SurgelineError, match="WRONGTYPE") as raised:
        subject.commit(subject.full_unit(1))

    assert not isinstance(raised.value, Unreachable)
    assert subject.dumped() == before


def test_fence_of_a_wrong_type_fails_the_claim(subject: RealSubject) -> None:
    subject.redis.sadd(subject.key("fence"), "intruder")

    with pytest.raises(SurgelineError, match="WRONGTYPE"):
        subject.claim()

    assert subject.redis.smembers(subject.key("fence")) == {b"intruder"}


def test_forgotten_scripts_are_loaded_again(subject: RealSubject) -> None:
    subject.claim()
    subject.write(0)
    subject.redis.script_flush()

    subject.write(1)
    subject.redis.script_flush()

    assert subject.claim("new") == Fence(2, {}, None)


def test_supported_server_is_accepted(subject: RealSubject) -> None:
    subject.run(subject.store.check_server())


def test_several_commits_of_several_shards_may_be_under_way(own: RealSubject) -> None:
    async def commit_all() -> set[Answer]:
        shards = range(20)
        await asyncio.gather(*(own.store.claim(shard, "me") for shard in shards))
        units = [own.unit(shard=shard, accounts=[full_write()]) for shard in shards]
        return set(await asyncio.gather(*(own.store.commit(unit) for unit in units)))

    assert own.run(commit_all()) == {Answer.APPLIED}
    assert own.run(own.store.funnel(range(20)))["1|engaged"] == 20


def test_replica_takes_nothing_until_it_is_promoted(own: RealSubject) -> None:
    own.claim()
    own.commit(own.full_unit(0))
    before = own.everything()
    own.redis.replicaof("127.0.0.1", "1")
    with pytest.raises(Unreachable):
        own.commit(own.full_unit(1))
    with pytest.raises(Unreachable):
        own.claim("new")
    with pytest.raises(Unreachable):
        own.announced(1)
    assert own.everything() == before

    own.redis.replicaof("NO", "ONE")

    assert own.commit(own.full_unit(1)) is Answer.APPLIED


def test_redis_without_its_replicas_takes_nothing_until_they_are_back(own: RealSubject) -> None:
    own.claim()
    own.redis.config_set("min-replicas-to-write", "1")
    with pytest.raises(Unreachable):
        own.commit(own.full_unit())

    own.redis.config_set("min-replicas-to-write", "0")

    assert own.commit(own.full_unit()) is Answer.APPLIED


def test_redis_kept_busy_by_a_script_answers_later(own: RealSubject) -> None:
    own.claim()
    endless = threading.Thread(target=run_for_ever, args=(own.url,))
    endless.start()
    try:
        until_it_is_busy(own)
        with pytest.raises(Unreachable):
            own.commit(own.full_unit())
    finally:
        own.redis.script_kill()
        endless.join(10)

    assert own.commit(own.full_unit()) is Answer.APPLIED


def until_it_is_busy(subject: RealSubject) -> None:
    give_up_at = time.monotonic() + PATIENCE * 10
    with contextlib.suppress(redis.ResponseError):
        while time.monotonic() < give_up_at:
            subject.redis.get("anything")


def run_for_ever(url: str) -> None:
    with redis.Redis.from_url(url) as client, contextlib.suppress(redis.ResponseError):
        client.eval("while true do end", 0)


def test_commit_whose_reply_was_lost_is_recognised(
    own: RealSubject, own_server: RedisServer
) -> None:
    own.claim()
    own.write(0)
    commit = own.unit(1, accounts=[full_write()])
    own_server.pause()
    with pytest.raises(Unreachable):
        own.commit(commit)  # it waits in the socket, and is carried out when Redis wakes up

    own_server.resume()

    assert own.commit(commit) is Answer.ALREADY
    assert own.funnel() == {"1|engaged": 1, "surging": 1, "target>engaged": 1}


def test_restarted_redis_takes_the_next_commit(own: RealSubject, own_server: RedisServer) -> None:
    own.claim()
    own.commit(own.full_unit(0))
    own_server.kill()
    with pytest.raises(Unreachable):
        own.commit(own.full_unit(1))

    own_server.start()

    assert own.commit(own.full_unit(1)) is Answer.APPLIED


CALLS: dict[str, Callable[[RealSubject], object]] = {
    "claim": lambda own: own.claim(),
    "commit": lambda own: own.commit(own.full_unit()),
    "states": lambda own: own.states("acme"),
    "seen": lambda own: own.seen(("acme", "ad:1")),
    "due": lambda own: own.due(),
    "outbox": lambda own: own.outbox(),
    "announced": lambda own: own.announced(1),
    "look_again": lambda own: own.look_again("acme"),
    "fences": lambda own: own.fence(),
    "funnel": lambda own: own.funnel(),
    "leaders": lambda own: own.leaders("engagement"),
    "meta": lambda own: own.run(own.store.meta()),
    "write_meta": lambda own: own.run(own.store.write_meta({"partitions": 8})),
    "check_server": lambda own: own.run(own.store.check_server()),
    "all_states": lambda own: own.all_states(),
    "erase": lambda own: own.run(own.store.erase()),
    "memory_of": lambda own: own.run(own.store.memory_of("acme", own.shard)),
}


def test_calls_say_that_redis_is_away(own: RealSubject, own_server: RedisServer) -> None:
    own_server.kill()

    silent = [name for name, call in CALLS.items() if not says_away(call, own)]

    assert silent == []


def says_away(call: Callable[[RealSubject], object], subject: RealSubject) -> bool:
    try:
        call(subject)
    except Unreachable:
        return True
    except redis.RedisError:
        pass
    return False


def test_meta_is_recorded_once(own: RealSubject) -> None:
    assert own.run(own.store.meta()) == {}

    first = own.run(own.store.write_meta({"partitions": 8, "clock": "wall"}))
    second = own.run(own.store.write_meta({"partitions": 4, "clock": "event", "format": 1}))

    assert first == {"partitions": "8", "clock": "wall"}
    assert second == {"partitions": "8", "clock": "wall", "format": "1"}


def test_all_states_of_a_shard_are_read_each_once(own: RealSubject) -> None:
    ids = [f"account-{number}" for number in range(1_200)] + ["*", "a:b"]
    own.claim()
    for seq, start in enumerate(range(0, len(ids), 500)):
        writes = [account_write(each, state=each.encode()) for each in ids[start : start + 500]]
        own.write(seq, *writes)
    own.claim(shard=own.shard + 1)
    own.commit(own.unit(shard=own.shard + 1, accounts=[account_write("elsewhere")]))

    assert sorted(own.all_states()) == sorted(each.encode() for each in ids)


def test_erasing_takes_every_key_of_ours_and_no_other(own: RealSubject) -> None:
    own.redis.set("somebody:else", "kept")
    own.claim()
    own.commit(own.full_unit())
    own.run(own.store.write_meta({"partitions": 8}))

    erased = own.run(own.store.erase())

    assert erased == len([*HASHES, *ZSETS, "state", "seen", META])
    assert own.redis.keys() == [b"somebody:else"]


def test_full_redis_takes_nothing_until_it_has_room(own: RealSubject) -> None:
    own.claim()
    own.commit(own.full_unit(0))
    before = own.everything()
    own.redis.config_set("maxmemory-policy", "noeviction")
    own.redis.config_set("maxmemory", "1mb")
    with pytest.raises(Unreachable):
        own.commit(own.full_unit(1))
    with pytest.raises(Unreachable):
        own.claim("new")
    assert own.everything() == before

    own.redis.config_set("maxmemory", "0")

    assert own.commit(own.full_unit(1)) is Answer.APPLIED


@pytest.mark.parametrize("bad", [{"scores": (float("nan"), None, None)}, {"due": float("nan")}])
def test_commit_that_cannot_be_stored_writes_nothing(
    subject: RealSubject, bad: dict[str, Any]
) -> None:
    subject.claim()
    subject.write(0)
    before = subject.dumped()

    with pytest.raises(SurgelineError):
        subject.commit(subject.unit(1, accounts=[account_write(state=b"new", **bad)]))

    assert subject.dumped() == before


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("funnel", "1|engaged"),
        ("funnel", "surging"),
        ("funnel", "target>engaged"),
        ("account:acme", "surging"),
    ],
)
def test_garbage_counter_fails_the_commit_before_it_writes(
    subject: RealSubject, key: str, field: str
) -> None:
    subject.claim()
    subject.write(0)
    subject.redis.hset(subject.key(key), field, "x")
    before = subject.dumped()

    with pytest.raises(SurgelineError):
        subject.commit(subject.unit(1, accounts=[full_write()]))

    assert subject.dumped() == before


def test_who_was_erased_outlives_a_new_start(own: RealSubject) -> None:
    own.run(own.store.note_erased(["a" * 32], 5.25))
    own.run(own.store.write_meta({"partitions": 8}))

    erased = own.run(own.store.erase())

    assert erased == 1
    assert own.run(own.store.erased_people()) == {"a" * 32: 5.25}
    assert not own.run(own.store.holds_keys())
