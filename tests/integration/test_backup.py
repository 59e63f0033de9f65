"""`surgeline backup` and `restore`: what was stored comes back, and scoring goes on from there."""

import asyncio
import math
import stat
import struct
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.backup import restore_backup, take_backup
from stream.backup_file import BackupReader, StringRecord
from stream.errors import BadBackup, NotFound, NotSettled, RefusedStart, Unreachable
from stream.state_store import FORMAT, META, AccountWrite, Answer, Commit, RedisStore
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.mixed_stream import AS_OF, mixed_stream
from tests.integration.worker_kit import Place, Servers, forget, record_of
from tests.servers import RedisServer, require_servers
from tests.system.harness import Json, differences, eventually, rows, write_lines

REAL = [
    pytest.param("embedded", marks=pytest.mark.embedded),
    pytest.param("kafka", marks=pytest.mark.kafka),
]
NOW = 1.7e9
SHARDS = 2
T = TypeVar("T")


@pytest.fixture(scope="module", params=REAL)
def own_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """Give a Redis that nobody else uses."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "embedded":
            patch.setattr("tests.servers.docker_answers", lambda: False)
        else:
            require_servers(own=True)
        with RedisServer(own=True) as server:
            yield server


@pytest.fixture
def client(own_server: RedisServer) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(own_server.url) as client:
        client.flushall()
        yield client
        client.config_set("maxmemory", "0")


@pytest.fixture
def url(own_server: RedisServer, client: "redis.Redis") -> str:
    client.hset(META, mapping={"partitions": SHARDS, "clock": "event", "format": FORMAT})
    client.hset(META, "digest", "abc")
    return own_server.url


def with_store(url: str, use: Any) -> Any:
    async def run() -> Any:
        store = RedisStore(url)
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(run())


def back_up(url: str, path: Path, **options: bool) -> Any:
    return with_store(url, lambda store: take_backup(store, path, now=NOW, **options))


def bring_back(url: str, path: Path, **options: bool) -> Any:
    return with_store(url, lambda store: restore_backup(store, path, **options))


def content(client: Any) -> dict[bytes, object]:
    """Return every key with its value, bit by bit."""
    found: dict[bytes, object] = {}
    for key in client.scan_iter(count=1_000):
        match client.type(key):
            case b"string":
                found[key] = client.get(key)
            case b"hash":
                found[key] = client.hgetall(key)
            case b"zset":
                scores = client.zrange(key, 0, -1, withscores=True)
                found[key] = {member: struct.pack(">d", score) for member, score in scores}
            case b"list":
                found[key] = client.lrange(key, 0, -1)
    return found


ids = st.binary(min_size=1, max_size=12)
names = st.builds(
    lambda shard, kind, each: b"sl:{%d}:%s:%s" % (shard, kind, each),
    st.integers(0, SHARDS - 1),
    st.sampled_from([b"state", b"seen", b"top", b"account"]),
    ids,
)
doubles = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([-0.0, 5e-324, 1e308])
values = st.one_of(
    st.binary(max_size=300),
    st.dictionaries(ids, st.binary(max_size=80), min_size=1, max_size=20),
    st.dictionaries(ids, doubles, min_size=1, max_size=20).map(lambda members: [members]),
    st.lists(st.binary(max_size=80), min_size=1, max_size=30).map(tuple),
)
lives = st.none() | st.integers(min_value=100_000, max_value=10**10)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stored=st.dictionaries(names, st.tuples(values, lives), max_size=12))
def test_any_keys_come_back_as_they_were(
    client: Any, url: str, tmp_path: Path, stored: dict[bytes, tuple[Any, int | None]]
) -> None:
    forget(client)
    client.hset(META, mapping={"partitions": SHARDS, "format": FORMAT})
    for key, (value, life_ms) in stored.items():
        match value:
            case bytes():
                client.set(key, value)
            case dict():
                client.hset(key, mapping=value)
            case tuple():
                client.rpush(key, *value)
            case [members]:
                client.zadd(key, members)
        if life_ms is not None:
            client.pexpire(key, life_ms)
    before = content(client)

    done = back_up(url, tmp_path / "backup", force=True)
    bring_back(url, tmp_path / "backup", force=True)

    assert content(client) == before
    assert done.header.keys == len(before)
    for key, (_, life_ms) in stored.items():
        left = client.pttl(key)
        assert left == -1 if life_ms is None else abs(left - life_ms) <= 1_000


def test_large_hashes_and_sorted_sets_come_back_in_pieces(
    client: Any, url: str, tmp_path: Path
) -> None:
    client.hset("sl:{0}:outbox", mapping={str(n): b"x" * 100 for n in range(5_000)})
    client.zadd("sl:{1}:due", {f"account-{n}": math.sqrt(n) for n in range(5_000)})
    client.expire("sl:{1}:due", 1_000)
    before = content(client)

    back_up(url, tmp_path / "backup")
    client.flushall()
    bring_back(url, tmp_path / "backup")

    assert content(client) == before
    assert 998 <= client.ttl("sl:{1}:due") <= 1_000


def test_only_keys_of_surgeline_are_taken(client: Any, url: str, tmp_path: Path) -> None:
    client.set("somebody:else", "theirs")
    client.set("sl:later", "ours")
    back_up(url, tmp_path / "backup")
    client.flushall()
    client.set("somebody:else", "new")

    bring_back(url, tmp_path / "backup")

    assert client.get("somebody:else") == b"new"
    assert client.get("sl:later") == b"ours"


def test_header_says_what_the_backup_is_of(url: str, tmp_path: Path) -> None:
    back_up(url, tmp_path / "backup")

    header = BackupReader(tmp_path / "backup").header()

    assert (header.partitions, header.clock, header.digest) == (SHARDS, "event", "abc")
    assert (header.format, header.keys) == (FORMAT, 1)
    assert header.created_at == "2023-11-14T22:13:20Z"


def test_backup_is_for_its_owner_only(url: str, tmp_path: Path) -> None:
    back_up(url, tmp_path / "backup")

    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600


def test_existing_file_is_replaced_only_by_force(url: str, tmp_path: Path) -> None:
    path = tmp_path / "backup"
    path.write_text("precious")

    with pytest.raises(BadBackup, match="--force"):
        back_up(url, path)
    assert path.read_text() == "precious"
    back_up(url, path, force=True)

    assert BackupReader(path).header().partitions == SHARDS
    assert list(tmp_path.iterdir()) == [path]


def test_empty_redis_has_nothing_to_back_up(client: Any, url: str, tmp_path: Path) -> None:
    client.flushall()

    with pytest.raises(NotFound):
        back_up(url, tmp_path / "backup")

    assert list(tmp_path.iterdir()) == []


class Commits:
    """Commits unit after unit to shard 0; the state of all accounts is the unit's number."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._stop = False
        self._begun = asyncio.Event()

    async def run(self) -> None:
        try:
            fence = await self._store.claim(0, "me")
            seq = fence.seq
            while not self._stop:
                assert await self._store.commit(self._unit(seq)) is Answer.APPLIED
                self._begun.set()
                seq += 1
        finally:
            self._begun.set()

    def _unit(self, seq: int) -> Commit:
        accounts = [
            AccountWrite(f"a{n}", ["seq", str(seq)], str(seq + 1).encode(), (1.0, None, None))
            for n in range(200)
        ]
        return Commit(0, "me", seq, f"c{seq}", [("chats", seq or None, seq + 1)], accounts)

    async def beside(self, use: Coroutine[Any, Any, T]) -> T:
        running = asyncio.create_task(self.run())
        await self._begun.wait()
        try:
            return await use
        finally:
            self._stop = True
            await running


async def back_up_beside_commits(url: str, path: Path, **options: bool) -> None:
    reading, writing = RedisStore(url), RedisStore(url)
    try:
        await Commits(writing).beside(take_backup(reading, path, now=NOW, **options))
    finally:
        await reading.close()
        await writing.close()


def test_shard_that_is_written_to_all_the_time_is_given_up(url: str, tmp_path: Path) -> None:
    with pytest.raises(NotSettled, match="--hold-writes"):
        asyncio.run(back_up_beside_commits(url, tmp_path / "backup"))

    assert list(tmp_path.iterdir()) == []


def test_shard_whose_writes_are_held_back_is_read_as_of_one_commit(
    client: Any, url: str, tmp_path: Path
) -> None:
    asyncio.run(back_up_beside_commits(url, tmp_path / "backup", hold_writes=True))
    client.flushall()
    bring_back(url, tmp_path / "backup")

    seq = client.hget("sl:{0}:fence", "seq")
    states = {client.get(key) for key in client.scan_iter(match="sl:{0}:state:*")}
    assert states == {seq} == {client.hget("sl:{0}:fence", "chats")}


def test_writes_go_on_after_a_backup_that_held_them_back(
    client: Any, url: str, tmp_path: Path
) -> None:
    back_up(url, tmp_path / "backup", hold_writes=True)
    client.sadd("sl:{0}:wrong", "type")

    with pytest.raises(Exception, match="which no Surgeline writes"):
        back_up(url, tmp_path / "other", hold_writes=True)

    client.set("key", "value")  # would wait for seconds
    assert client.get("key") == b"value"
    assert not (tmp_path / "other").exists()


def test_restore_into_stored_keys_is_refused_unless_forced(
    client: Any, url: str, tmp_path: Path
) -> None:
    client.set("sl:{0}:state:old", "old")
    back_up(url, tmp_path / "backup")
    client.set("sl:{0}:state:newer", "newer")
    before = content(client)

    with pytest.raises(RefusedStart, match="--force"):
        bring_back(url, tmp_path / "backup")
    assert content(client) == before
    bring_back(url, tmp_path / "backup", force=True)

    assert client.get("sl:{0}:state:old") == b"old"
    assert client.get("sl:{0}:state:newer") is None


def test_nothing_is_written_of_a_damaged_backup(client: Any, url: str, tmp_path: Path) -> None:
    path = tmp_path / "backup"
    for number in range(2_000):
        client.set(f"sl:{{0}}:state:{number}", number)
    back_up(url, path)
    before = content(client)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(BadBackup):
        bring_back(url, path, force=True)

    assert content(client) == before


def test_restore_that_breaks_off_leaves_no_meta(client: Any, url: str, tmp_path: Path) -> None:
    for number in range(1_000):
        client.set(f"sl:{{0}}:state:{number}", bytes(10_000))
    back_up(url, tmp_path / "backup")
    client.flushall()
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 5_000_000)

    with pytest.raises(Unreachable):
        bring_back(url, tmp_path / "backup")

    assert client.dbsize() > 0
    assert not client.exists(META)


def test_first_records_are_those_of_the_shards_and_meta_is_the_last(
    client: Any, url: str, tmp_path: Path
) -> None:
    client.set("sl:{1}:state:a", "a")
    client.set("sl:other", "b")
    back_up(url, tmp_path / "backup")

    found = list(BackupReader(tmp_path / "backup").records())

    assert found[0] == StringRecord(b"sl:{1}:state:a", None, b"a")
    assert [each.key for each in found[1:]] == [b"sl:other", META.encode()]


@pytest.fixture(scope="module")
def events() -> list[Json]:
    return mixed_stream(seed=31, accounts=20)


@pytest.fixture
def place(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    with Place(servers, tmp_path) as own:
        own.declare_topics()
        yield own


@KAFKA_ONLY
def test_worker_goes_on_from_a_restored_backup(place: Place, events: list[Json]) -> None:
    file, half = str(place.directory / "half.backup"), len(events) // 2
    worker = place.ready_worker()
    place.wait_scored(place.produce(record_of(each) for each in events[:half]))
    assert eventually(lambda: place.outbox() == 0, within_seconds=10)
    taken = place.run("backup", file)  # while the worker is alive, and idle
    stored = place.produce(record_of(each) for each in events[half:])
    place.wait_scored(stored)
    at_the_end = place.committed()
    assert worker.terminate() == 0
    forget(place.redis)

    restored = place.run("restore", file)
    behind = place.committed()
    place.ready_worker()
    place.wait_scored(stored)

    assert (taken.returncode, restored.returncode) == (0, 0), taken.stderr + restored.stderr
    assert 0 < behind < at_the_end
    alone = write_lines(place.directory / "alone.jsonl", events)
    reference = rows(place.run("score", str(alone), "--as-of", AS_OF, "--json").stdout)
    assert differences(place.accounts(AS_OF), reference) == []


@KAFKA_ONLY
def test_restore_that_broke_off_is_refused_at_start(place: Place, events: list[Json]) -> None:
    worker = place.ready_worker()
    place.wait_scored(place.produce(record_of(each) for each in events[:50]))
    assert worker.terminate() == 0
    place.redis.delete(META)

    done = place.run("worker", SURGELINE_ON_MISSING_STATE="replay")

    assert done.returncode == 1
    assert "without sl:meta" in done.stderr


@KAFKA_ONLY
def test_wrong_file_is_refused_in_one_sentence(place: Place) -> None:
    wrong = place.directory / "wrong"
    wrong.write_text("wrong")

    done = place.run("restore", str(wrong))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"surgeline: {wrong} is no backup of Surgeline.\n"


@KAFKA_ONLY
def test_restore_is_refused_while_a_worker_is_alive(place: Place) -> None:
    file = str(place.directory / "backup")
    place.ready_worker()
    assert place.run("backup", file).returncode == 0

    done = place.run("restore", file, "--force")

    assert done.returncode == 1
    assert f"consumer group {place.group}" in done.stderr
    assert place.redis.exists(META)


@KAFKA_ONLY
def test_backup_made_with_other_settings_is_said_after_the_restore(place: Place) -> None:
    file = str(place.directory / "backup")
    assert place.ready_worker().terminate() == 0
    assert place.run("backup", file).returncode == 0
    forget(place.redis)

    done = place.run("restore", file, SURGELINE_CLOCK="wall")

    assert done.returncode == 0
    assert "warning: the backup has clock event" in done.stderr
