"""Recording what became of alerts: in `deliveries`, in `dead-letters` and in the metrics."""

import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from scoring.errors import BadRecord, Reason
from scoring.report import parse_time
from stream.notify.alert import Alert
from stream.notify.held import Item
from stream.notify.matching import Destination
from stream.notify.memory import delivery, message_of
from stream.notify.metrics import NotifierMetrics
from stream.notify.partitions import Partition
from stream.notify.policy import Outcome
from stream.outputs import LARGE_BYTES, Message, Outputs, dead_letter

NO_ROUTE: Final = "none"
"""Label of alerts that no route takes."""


class Recorder:
    """Records; each call returns once Kafka has it."""

    def __init__(self, outputs: Outputs, metrics: NotifierMetrics, *, prefix: str) -> None:
        self._outputs = outputs
        self._metrics = metrics
        self._prefix = prefix

    async def settle(
        self,
        partition: Partition,
        alert: Alert,
        destination: Destination,
        outcome: Outcome,
        *,
        detail: str | None = None,
    ) -> None:
        """Record that *alert* came to *outcome*."""
        now = time.time()
        each = delivery(alert, destination.route.name, outcome, now=now, detail=detail)
        await self._outputs.send([message_of(each, partition.number)])
        partition.memory.note(each)
        self.count(destination.route.name, outcome)
        if outcome is Outcome.DELIVERED:
            self._metrics.delays.observe(max(0.0, now - parse_time(alert.detected_at)))

    async def settle_items(
        self, items: Sequence[Item], route: str, outcome: Outcome, *, detail: str | None = None
    ) -> None:
        """Record that all of *items* came to *outcome*."""
        now = time.time()
        made = [
            (item, delivery(item.alert, route, outcome, now=now, detail=detail)) for item in items
        ]
        await self._outputs.send([message_of(each, item.partition.number) for item, each in made])
        for item, each in made:
            item.partition.memory.note(each)
        self.count(route, outcome, len(items))

    async def hold(self, items: Sequence[Item], route: str, *, why: str) -> None:
        """Record that *items* wait for a digest, as whole as they are."""
        messages = []
        for item in items:
            each = msgspec.structs.replace(
                delivery(item.alert, route, Outcome.HELD, now=item.held_at, detail=why),
                digest=item.digest,
                offset=item.record.offset,
                timestamp=item.record.timestamp,
                alert=msgspec.Raw(item.record.value),
            )
            messages.append(message_of(each, item.partition.number))
        await self._outputs.send(messages)

    async def bury(self, records: Sequence[Any], detail: str) -> None:
        """Put *records* into `dead-letters` as undeliverable."""
        error = BadRecord(Reason.UNDELIVERABLE, detail)
        await self._outputs.send([dead_letter(r, error, prefix=self._prefix) for r in records])

    async def lose(self, item: Item, route: str) -> None:
        """Bury what was held back for a *route* that the file does not have any more."""
        detail = "the file of routes has no such route any more, or no address for the owner"
        await self.bury([item.record], f"route {route}: {detail}")
        await self.settle_items([item], route, Outcome.DEAD, detail=detail)

    async def refuse(self, record: Any, error: BadRecord) -> None:
        """Put a *record* that is no alert into `dead-letters`."""
        await self._outputs.send([dead_letter(record, error, prefix=self._prefix)])

    async def forget(self, messages: Sequence[Message]) -> None:
        """Remove records of `deliveries` that no alert can come back to."""
        await self._outputs.send(messages)

    def count(self, route: str, outcome: Outcome, count: int = 1) -> None:
        """Count alerts by what became of them."""
        self._metrics.notifications.labels(route, outcome.value).inc(count)

    def count_failure(self, route: str) -> None:
        """Count a try that an endpoint did not take."""
        self._metrics.failures.labels(route).inc()


def may_hold(record: Any) -> bool:
    """Tell whether *record* fits into `deliveries` as a whole."""
    return len(record.value) < LARGE_BYTES
