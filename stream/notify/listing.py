"""The topic `alerts` as a list: its newest records, and those that follow."""

import heapq
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from scoring.errors import BadRecord
from scoring.report import parse_time
from stream.kafka_admin import Reached, admin_client, partition_counts
from stream.notify.alert import Alert, decode_alert
from stream.notify.kafka_reading import partitions_of, read_to_end, reader
from stream.settings import Settings
from stream.topics import ALERTS


class Listed(NamedTuple):
    """One alert of the list."""

    alert: Alert
    raw: bytes
    """Its JSON."""


async def list_alerts(
    settings: Settings, *, account: str | None, limit: int, follow: bool
) -> AsyncIterator[Listed]:
    """Yield the newest *limit* alerts, the newest last; with *follow* those that come, for ever.

    Each once, of one *account* only where one is given.
    """
    async with admin_client(settings) as admin:
        count = (await partition_counts(admin, settings)).get(ALERTS, 0)
    if not count:
        return
    async with Reached(settings), reader(settings) as consumer:
        tps = partitions_of(ALERTS, range(count), settings)
        newest = _Newest(limit, account)
        async for record in read_to_end(consumer, tps):
            newest.add(record)
        for each in newest.found():
            yield each
        while follow:
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                for record in records:
                    if (fresh := newest.add(record)) is not None:
                        yield fresh


class _Newest:
    """Keeps the newest so many by the time at which their rule was evaluated."""

    def __init__(self, limit: int, account: str | None) -> None:
        self._limit = limit
        self._account = account
        self._count = 0
        self._heap: list[tuple[float, int, Listed]] = []
        self._ids: set[str] = set()

    def add(self, record: Any) -> Listed | None:
        """Add the alert of *record*; return it unless it is known, foreign or none at all."""
        try:
            alert = decode_alert(record.value)
        except BadRecord:
            return None
        wanted = self._account in (None, alert.account_id)
        if not wanted or alert.id in self._ids:
            return None
        self._count += 1
        self._ids.add(alert.id)
        entry = parse_time(alert.at), self._count, Listed(alert, record.value)
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, entry)
        else:
            *_, oldest = heapq.heappushpop(self._heap, entry)
            self._ids.discard(oldest.alert.id)
        return entry[-1]

    def found(self) -> list[Listed]:
        """Return what is kept, the newest last."""
        return [listed for _, _, listed in sorted(self._heap)]
