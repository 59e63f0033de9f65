"""A store under test: the fake or Redis, asked the same way, and looked into past its methods."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any, Protocol

from scoring.history import DayScores
from scoring.kpis.facts import Names
from stream.fact_logs import FactWrite
from stream.past import pack_days
from stream.state_store import AccountWrite, Answer, Commit, Fence, StateStore, shard_prefix
from tests.fakes import InMemoryStore

LATER = 1e11
"""An instant after every due instant."""


class ReadableStore(StateStore, Protocol):
    """A state store with the reads that other programs need."""

    async def funnel(self, shards: Sequence[int]) -> dict[str, int]: ...

    async def leaders(
        self, board: str, shards: Sequence[int], limit: int
    ) -> dict[int, list[str]]: ...

    async def history(self, shard: int, account_ids: Sequence[str]) -> list[list[DayScores]]: ...

    async def facts(self, shard: int, account_ids: Sequence[str]) -> list[tuple[bytes, bytes]]: ...

    async def names(self, shard: int) -> Names: ...

    async def spend(self, shard: int) -> list[tuple[float, bytes]]: ...


class Inside(Protocol):
    """What is stored, read past the store."""

    async def account(self, shard: int, account_id: str) -> dict[str, str]: ...

    async def board(self, shard: int, board: str) -> dict[str, float]: ...

    async def everything(self, shard: int) -> object:
        """Return all that is stored of *shard*, to be compared."""


class InsideMemory:
    def __init__(self, store: InMemoryStore) -> None:
        self._store = store

    async def account(self, shard: int, account_id: str) -> dict[str, str]:
        return await self._store.account(shard, account_id)

    async def board(self, shard: int, board: str) -> dict[str, float]:
        return self._store.snapshot(shard).boards[board]

    async def everything(self, shard: int) -> object:
        return self._store.snapshot(shard)


class InsideRedis:
    def __init__(self, client: Any) -> None:
        self._client = client

    async def account(self, shard: int, account_id: str) -> dict[str, str]:
        found = await self._client.hgetall(f"{shard_prefix(shard)}account:{account_id}")
        return {name.decode(): value.decode() for name, value in found.items()}

    async def board(self, shard: int, board: str) -> dict[str, float]:
        found = await self._client.zrange(
            f"{shard_prefix(shard)}top:{board}", 0, -1, withscores=True
        )
        return {account_id.decode(): score for account_id, score in found}

    async def everything(self, shard: int) -> object:
        return {
            key: (await self._read(key), await self._client.pexpiretime(key))
            for key in await self.keys(shard)
        }

    async def keys(self, shard: int) -> list[bytes]:
        found = self._client.scan_iter(match=f"{shard_prefix(shard)}*", count=1_000)
        return sorted([key async for key in found])

    async def remove(self, shard: int) -> None:
        for key in await self.keys(shard):
            await self._client.delete(key)

    async def _read(self, key: bytes) -> object:
        kind = (await self._client.type(key)).decode()
        match kind:
            case "hash":
                return await self._client.hgetall(key)
            case "zset":
                return await self._client.zrange(key, 0, -1, withscores=True)
            case "string":
                return await self._client.get(key)
        raise AssertionError(f"{key!r} is a {kind}")


class Subject:
    """A store under test and one shard in it, without the awaiting."""

    def __init__(
        self, runner: asyncio.Runner, store: ReadableStore, inside: Inside, shard: int
    ) -> None:
        self._run = runner.run
        self._store = store
        self._inside = inside
        self.shard = shard

    def claim(self, owner: str = "me", *, shard: int | None = None) -> Fence:
        return self._run(self._store.claim(self.shard if shard is None else shard, owner))

    def commit(self, commit: Commit) -> Answer:
        return self._run(self._store.commit(commit))

    def write(self, seq: int, *accounts: AccountWrite, announcement: bytes | None = None) -> None:
        """Commit *accounts* as unit *seq* of the owner `me`."""
        commit = self.unit(seq, accounts=accounts, announcement=announcement)
        assert self.commit(commit) is Answer.APPLIED

    def unit(
        self,
        seq: int = 0,
        *,
        owner: str = "me",
        commit_id: str | None = None,
        offsets: Sequence[tuple[str, int | None, int]] = (),
        accounts: Sequence[AccountWrite] = (),
        time: float | None = None,
        announcement: bytes | None = None,
        shard: int | None = None,
        names: Names | None = None,
        spend: Sequence[tuple[float, bytes]] = (),
    ) -> Commit:
        return Commit(
            shard=self.shard if shard is None else shard,
            owner=owner,
            expected_seq=seq,
            commit_id=commit_id or secrets.token_hex(8),
            offsets=list(offsets),
            accounts=list(accounts),
            time=time,
            announcement=announcement,
            names=names or {},
            spend=list(spend),
        )

    def fence(self) -> Fence:
        return self._run(self._store.fences([self.shard]))[self.shard]

    def states(self, *account_ids: str) -> list[bytes | None]:
        return self._run(self._store.states(self.shard, account_ids))

    def seen(self, *keys: tuple[str, str]) -> list[bytes]:
        return self._run(self._store.seen(self.shard, keys))

    def history(self, *account_ids: str) -> list[list[DayScores]]:
        return self._run(self._store.history(self.shard, account_ids))

    def facts(self, *account_ids: str) -> list[tuple[bytes, bytes]]:
        return self._run(self._store.facts(self.shard, account_ids))

    def names(self) -> Names:
        return self._run(self._store.names(self.shard))

    def spend(self) -> list[tuple[float, bytes]]:
        return self._run(self._store.spend(self.shard))

    def due(self, now: float = LATER, limit: int = 10) -> list[str]:
        return self._run(self._store.due(self.shard, now, limit))

    def outbox(self) -> dict[int, bytes]:
        return self._run(self._store.outbox(self.shard))

    def announced(self, *seqs: int) -> int:
        return self._run(self._store.announced(self.shard, seqs))

    def look_again(self, *account_ids: str) -> None:
        self._run(self._store.look_again(self.shard, account_ids))

    def funnel(self, *others: int) -> dict[str, int]:
        """Return the funnel counters that are not zero."""
        found = self._run(self._store.funnel([self.shard, *others]))
        return {name: value for name, value in found.items() if value}

    def leaders(self, board: str, limit: int = 10) -> list[str]:
        return self._run(self._store.leaders(board, [self.shard], limit))[self.shard]

    def account(self, account_id: str) -> dict[str, str]:
        return self._run(self._inside.account(self.shard, account_id))

    def board(self, board: str) -> dict[str, float]:
        return self._run(self._inside.board(self.shard, board))

    def everything(self) -> object:
        return self._run(self._inside.everything(self.shard))


def account_write(
    account_id: str = "acme",
    *,
    state: bytes = b"state",
    scores: tuple[float | None, float | None, float | None] = (None, None, None),
    due: float | None = None,
    bucket: str = "",
    surging: bool = False,
    moves: Sequence[str] = (),
    fresh: Sequence[tuple[str, bytes]] = (),
    dropped: Sequence[str] = (),
    fields: Sequence[str] = (),
    days: Sequence[DayScores] = (),
    facts: FactWrite | None = None,
) -> AccountWrite:
    # As a worker does, the hash names the bucket and whether the account surges.
    named = ["bucket", bucket, "surging", "1" if surging else "0", *fields]
    return AccountWrite(
        account_id,
        named,
        state,
        scores,
        due=due,
        bucket=bucket,
        surging=surging,
        moves=list(moves),
        fresh=list(fresh),
        dropped=list(dropped),
        days=pack_days(days),
        facts=facts or FactWrite(),
    )


def full_write(account_id: str = "acme") -> AccountWrite:
    """Return a write that touches every kind of key."""
    return account_write(
        account_id,
        state=b"full",
        scores=(1.5, 2.5, 3.5),
        due=99.5,
        bucket="1|engaged",
        surging=True,
        moves=["target>engaged"],
        fresh=[("ad:20000", b"12345678")],
        dropped=["ad:19997"],
        fields=["engagement", "1.5"],
    )
