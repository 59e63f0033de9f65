"""Digests: what was held back for an owner, sent as one message when its time has come.

What a digest holds is fixed, and recorded, before it is sent. So one that was sent and not
recorded is sent again as exactly the same, with the same key.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Final, TypeAlias
from uuid import uuid4

from stream.notify.delivering import Desk
from stream.notify.held import Group, Held, Item
from stream.notify.lanes import Job, Lanes
from stream.notify.mutes import Mutes
from stream.notify.partitions import Partition
from stream.notify.policy import Outcome, digest_due
from stream.notify.recording import Recorder
from stream.notify.rendering import Outgoing, digest_message
from stream.notify.sending import Failure

TICK_SECONDS: Final = 1.0

Run: TypeAlias = Callable[[Coroutine[Any, Any, None], Iterable[Partition]], "asyncio.Task[None]"]
"""Runs a coroutine as a task that ends with partitions."""


class Digests:
    """Sends the digests of this process."""

    def __init__(
        self, held: Held, lanes: Lanes, *, desk: Desk, recorder: Recorder, mutes: Mutes
    ) -> None:
        self._held = held
        self._lanes = lanes
        self._desk = desk
        self._recorder = recorder
        self._mutes = mutes

    def start_due(self, run: Run) -> None:
        """Start sending what is due at this moment."""
        now = time.time()
        for group in self._held:
            if group.sending or not group.items:
                continue
            first = min(group.items, key=_order)
            zone = self._desk.zone(first.alert)
            if digest_due(group.destination.route, first.held_at, now, zone=zone):
                group.sending = True
                task = run(self._send(group), {item.partition for item in group.items})
                task.add_done_callback(partial(_sent, group))

    async def _send(self, group: Group) -> None:
        await self._drop_muted(group)
        items = self._chosen(group)
        if items:
            await self._fix(group, items)
            await self._deliver(group, items)

    async def _drop_muted(self, group: Group) -> None:
        now = time.time()
        muted = [
            item
            for item in group.items
            if item.digest is None and self._mutes.muted(item.alert, now)
        ]
        if muted:
            await self._recorder.settle_items(muted, group.destination.route.name, Outcome.MUTED)
            self._held.remove(group, muted)

    def _chosen(self, group: Group) -> list[Item]:
        """Return what goes into the next digest; one that was fixed earlier goes as it is."""
        items = sorted(group.items, key=_order)
        fixed = [item for item in items if item.digest is not None]
        if fixed:
            return [item for item in fixed if item.digest == fixed[0].digest]
        return items

    async def _fix(self, group: Group, items: list[Item]) -> None:
        if items[0].digest is None:
            label = uuid4().hex
            for item in items:
                item.digest = label
            await self._recorder.hold(items, group.destination.route.name, why="in a digest")

    async def _deliver(self, group: Group, items: list[Item]) -> None:
        route, left_out = group.destination.route, group.left_out
        message = _message(group, items)
        partitions = tuple({item.partition for item in items})
        job = Job(partitions, asyncio.get_running_loop().time())

        async def settle(failure: Failure | None) -> None:
            if failure is None:
                await self._recorder.settle_items(items, route.name, Outcome.DIGESTED)
            else:
                detail = f"{failure.why} (last of {job.tries} tries, in a digest)"
                records = [item.record for item in items]
                await self._recorder.bury(records, f"route {route.name}: {detail}")
                await self._recorder.settle_items(items, route.name, Outcome.DEAD, detail=detail)
            group.left_out -= left_out
            self._held.remove(group, items)
            job.settled = True

        lane = self._lanes.of(group.destination)
        while not job.settled and not job.abandoned:
            pause = await lane.attempt(job, message, settle=settle)
            if pause:
                await asyncio.sleep(pause)


def _message(group: Group, items: list[Item]) -> Outgoing:
    return digest_message(
        [(item.alert, item.record.value) for item in items],
        route=group.destination.route.name,
        owner=group.owner,
        left_out=group.left_out,
    )


def _sent(group: Group, _: object) -> None:
    group.sending = False


def _order(item: Item) -> tuple[float, int, int]:
    """Return what sorts items by age, also after a restart has read them back."""
    return round(item.held_at, 3), item.partition.number, item.record.offset
