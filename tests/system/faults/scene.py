"""A scene: a Surgeline on servers that may be broken, a stream into it, and what came of it."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import redis

from tests.place import Place, Servers, Worker
from tests.system.faults.audit import Audit, audited
from tests.system.faults.cluster import Cluster
from tests.system.faults.load import At, Load
from tests.system.faults.stream import TOPICS, Record, Stream
from tests.system.faults.table import Row
from tests.system.harness import Json, eventually

PARTITIONS = 4
SETTLE_SECONDS = 240.0
RECOVERY_SECONDS = 120.0
TIGHT_SECONDS = 0.002


@dataclass
class Fault:
    """What was done to a Surgeline, and how long it took to go on."""

    name: str
    injected: int = 0
    recovered_seconds: float = 0.0
    """The longest time from a fault's end to the next commit."""
    notes: list[str] = field(default_factory=list)

    def row(self, audit: Audit) -> Row:
        """Return its row of the table."""
        notes = "; ".join(self.notes)
        return Row(
            self.name, self.injected, self.recovered_seconds, audit.lost, audit.double, notes
        )


class Scene:
    """A place with four partitions, and one stream for it; see the package on how to use it."""

    def __init__(
        self,
        servers: Servers,
        directory: Path,
        stream: Stream,
        *,
        record: Callable[[str, object], None],
        settings: Mapping[str, str] | None = None,
        idempotent: bool = True,
    ) -> None:
        settled = {"SURGELINE_PARTITIONS": str(PARTITIONS)} | dict(settings or {})
        self.place = Place(servers, directory, **settled)
        self.cluster = Cluster(servers.kafka, self.place.prefix, PARTITIONS)
        self.stream = stream
        self._servers = servers
        self._record = record
        self._idempotent = idempotent
        self._loads: list[Load] = []
        self.rekeyed: Counter[At] = Counter()
        """How many records workers add to a partition, because they belong there."""

    def __enter__(self) -> Self:
        self.place.declare_topics()
        return self

    def __exit__(self, *_: object) -> None:
        for load in self._loads:
            load.close()
        self.place.__exit__()
        # An own Kafka is shared by all rows: what is left would make each restart slower.
        with contextlib.suppress(Exception):
            self.cluster.delete_topics()

    def load(
        self,
        records: Sequence[Record] | None = None,
        *,
        seconds: float | None = None,
        hold_at: float = 1.0,
    ) -> Load:
        """Start to produce *records* (default: the stream's), spread over *seconds*.

        No further than *hold_at*, a share of them, until the load is told to go on.
        """
        told = self.stream.records if records is None else records
        pace = None if seconds is None else len(told) / seconds
        load = Load(
            self._servers.kafka,
            self.place.prefix,
            told,
            per_second=pace,
            idempotent=self._idempotent,
        )
        load.hold_at(hold_at)
        self._loads.append(load)
        load.start()
        return load

    def introduce(self) -> None:
        """Have what the stream says first scored by a worker that runs."""
        load = self.load(self.stream.first)
        load.finish()
        self.settle()

    @property
    def ends(self) -> dict[At, int]:
        """Return the offset after the last acknowledged record of every partition."""
        found: dict[At, int] = {}
        for load in self._loads:
            for at, end in load.ends.copy().items():
                found[at] = max(found.get(at, 0), end)
        for at, added in self.rekeyed.items():
            found[at] = added + sum(load.counts.get(at, 0) for load in self._loads)
        return found

    def committed(self) -> int:
        """Return how many records are behind all fences, -1 while Redis does not answer."""
        try:
            return self.place.committed()
        except redis.exceptions.RedisError:
            return -1

    def wait_committed(self, more_than: int, *, within_seconds: float = RECOVERY_SECONDS) -> None:
        """Wait until more records than this are behind the fences; a worker must run."""
        eventually(
            lambda: self.committed() > more_than or not self._scoring(),
            within_seconds=within_seconds,
            every_seconds=TIGHT_SECONDS,
        )
        done = self.committed()
        assert done > more_than, f"{done} records are committed; {self._logs()}"

    def wait_share(self, share: float) -> None:
        """Wait until this share of the stream is committed; a worker must run."""
        self.wait_committed(round(share * len(self.stream.records)))

    def beyond(self, done: int) -> Callable[[], bool]:
        """Return the question whether more than *done* records are committed."""
        return lambda: self.committed() > done

    def _scoring(self) -> bool:
        return any(each.exit_code is None for each in self.place.workers)

    @contextlib.contextmanager
    def recovery(self, fault: Fault, *, until: Callable[[], bool] | None = None) -> Iterator[None]:
        """Lift the fault in the block; afterwards wait for the next commit, and note how long.

        There must be records left to be scored. *until* is waited for instead of a commit.
        """
        before = self.committed()
        yield
        started = time.monotonic()
        if until is None:
            self.wait_committed(before)
        else:
            assert eventually(until, within_seconds=RECOVERY_SECONDS), self._logs()
        fault.recovered_seconds = max(fault.recovered_seconds, time.monotonic() - started)

    def settle(self) -> None:
        """Wait until all that was acknowledged is scored, announced and looked at again."""
        eventually(lambda: self._settled() or not self._scoring(), within_seconds=SETTLE_SECONDS)
        assert self._settled(), f"{self._unsettled()}; {self._logs()}"

    def _settled(self) -> bool:
        try:
            return not self._unsettled()
        except redis.exceptions.RedisError:
            return False

    def _unsettled(self) -> str:
        for shard in range(PARTITIONS):
            fence: dict[bytes, bytes] = self.place.redis.hgetall(f"sl:{{{shard}}}:fence")  # type: ignore[assignment]
            for (topic, partition), end in self.ends.items():
                if partition == shard and int(fence.get(topic.encode(), 0)) < end:
                    at = int(fence.get(topic.encode(), 0))
                    return f"{topic}/{partition} is scored up to {at} of {end}"
            due = self.place.redis.zcount(
                f"sl:{{{shard}}}:due", "-inf", float(fence.get(b"time", b"-inf"))
            )
            if due:
                return f"{due} accounts of shard {shard} are due"
        waiting = self.place.outbox()
        return f"{waiting} entries wait in the outbox" if waiting else ""

    def conclude(
        self,
        fault: Fault,
        reference: Sequence[Json],
        *,
        more: Callable[[Audit], None] | None = None,
    ) -> None:
        """Write the rest of the stream, settle, audit, put down the row; nothing may be wrong.

        *more* adds what only this fault can be asked.
        """
        for load in self._loads:
            load.finish()
        self.settle()
        audit = audited(self.place, self.cluster, self.stream, reference)
        for at, end in self._log_ends().items():
            audit.compare(f"log of {at}", expected=self.ends.get(at, 0), found=end)
        if more is not None:
            more(audit)
        self._record("fault", fault.row(audit).properties())
        assert not audit.problems, f"{audit}\n{self._logs()}"

    def _log_ends(self) -> dict[At, int]:
        """Return where the logs end; a broker that lags behind its log is not asked."""
        return self.cluster.ends(TOPICS.values()) if self._idempotent else self.ends

    def _logs(self) -> str:
        return self.place.logs()[-8_000:]


def shards_of(worker: Worker) -> float:
    """Return how many shards *worker* says that it owns."""
    return worker.metric("surgeline_shards_owned")


def said(worker: Worker, *words: str) -> list[str]:
    """Return the lines of the worker's log that contain all of *words*."""
    return [line for line in worker.log().splitlines() if all(word in line for word in words)]
