"""Delivering: one alert on one route, from its turn to the record of what became of it."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from stream.notify.alert import Alert
from stream.notify.held import Held, Item
from stream.notify.lanes import Job, Lane
from stream.notify.matching import Destination
from stream.notify.mutes import Mutes
from stream.notify.partitions import Partition
from stream.notify.policy import SEND, Bucket, Outcome, Standing, decided, full, taken
from stream.notify.recording import Recorder, may_hold
from stream.notify.rendering import alert_message
from stream.notify.routes import Routes
from stream.notify.sending import Failure

BUCKETS_KEPT: Final = 10_000


@dataclass(eq=False)
class AlertJob(Job):
    """An alert to be delivered on one route."""

    alert: Alert | None = None
    record: Any = None
    again: bool = False
    """Whether it was a dead letter, and is to be tried though it was given up."""
    paid: bool = False
    """Whether it has taken its part of the rate limit."""


class Desk:
    """Decides on alerts when it is their turn, and sees them through."""

    def __init__(self, routes: Routes, *, recorder: Recorder, mutes: Mutes, held: Held) -> None:
        self._routes = routes
        self._recorder = recorder
        self._mutes = mutes
        self._held = held
        self._buckets: OrderedDict[tuple[str, str, str], Bucket] = OrderedDict()

    def zone(self, alert: Alert) -> ZoneInfo | None:
        """Return the time zone of the owner, None where the file names none."""
        zones = self._routes.zones
        return zones.get(alert.owner_id or "") or zones.get(alert.owner_email or "")

    async def deliver(self, job: AlertJob, lane: Lane) -> bool:
        """Deliver, hold back or drop the alert of *job*; tell whether that is recorded."""
        alert, partition, route = _alert(job), job.partitions[0], lane.destination.route
        message = alert_message(alert, job.record.value, route=route.name)

        async def settle(failure: Failure | None) -> None:
            outcome, detail = Outcome.DELIVERED, None
            if failure is not None:
                outcome, detail = Outcome.DEAD, f"{failure.why} (last of {job.tries} tries)"
                await self._recorder.bury([job.record], f"route {route.name}: {detail}")
            await self._recorder.settle(partition, alert, lane.destination, outcome, detail=detail)
            job.settled = True

        while not job.settled and not job.abandoned:
            if await self._passed_over(job, lane.destination):
                return True
            tried = job.tries
            pause = await lane.attempt(job, message, settle=settle)
            if job.tries > tried:
                self._recorder.count_failure(route.name)
            if pause:
                await asyncio.sleep(pause)
        return job.settled

    async def _passed_over(self, job: AlertJob, destination: Destination) -> bool:
        """Record an alert that is not to be sent now; tell whether it is none to be sent."""
        alert, partition, route = _alert(job), job.partitions[0], destination.route
        known = partition.memory.outcome(alert.id, route.name)
        if known is not None and not (job.again and known is Outcome.DEAD):
            return True
        if (decision := self._decided(job, destination)) == SEND:
            return False
        with job.busy():
            if decision == Outcome.HELD:
                await self._hold(job, destination)
            else:
                await self._recorder.settle(partition, alert, destination, Outcome(decision))
        return True

    def _decided(self, job: AlertJob, destination: Destination) -> str:
        alert, now = _alert(job), time.time()
        standing = Standing(
            muted=self._mutes.muted(alert, now),
            holding=self._held.of(destination, alert.owner) is not None,
            may_hold=may_hold(job.record),
        )
        route = destination.route
        decision = decided(alert, route, now, zone=self.zone(alert), it=standing)
        if decision == SEND and standing.may_hold and not self._within_limit(job, destination, now):
            return Outcome.HELD
        return decision

    def _within_limit(self, job: AlertJob, destination: Destination, now: float) -> bool:
        alert, limit = _alert(job), destination.route.rate_limit
        if limit is None or job.paid or alert.severity in destination.route.urgent:
            return True
        key = (*destination.key, alert.owner)
        self._buckets[key], job.paid = taken(self._buckets.get(key), limit, now)
        self._buckets.move_to_end(key)
        oldest = next(iter(self._buckets))
        over = len(self._buckets) > BUCKETS_KEPT
        if oldest != key and (over or full(self._buckets[oldest], limit, now)):
            del self._buckets[oldest]
        return job.paid

    async def _hold(self, job: AlertJob, destination: Destination) -> None:
        alert, partition, route = _alert(job), job.partitions[0], destination.route
        if self._known(destination, alert):
            return
        group = self._held.of(destination, alert.owner)
        if group is not None and group.full:
            group.left_out += 1
            await self._recorder.settle(
                partition, alert, destination, Outcome.DIGESTED, detail="counted, not listed"
            )
            return
        item = Item(alert, partition, job.record, round(time.time(), 3))
        # Before the record of it, so that what comes meanwhile does not overtake it.
        self._held.add(destination, item)
        await self._recorder.hold([item], route.name, why="quiet hours or rate limit")
        self._recorder.count(route.name, Outcome.HELD)

    def _known(self, destination: Destination, alert: Alert) -> bool:
        group = self._held.of(destination, alert.owner)
        return group is not None and any(item.alert.id == alert.id for item in group.items)


def _alert(job: AlertJob) -> Alert:
    assert job.alert is not None
    return job.alert


def alert_job(partition: Partition, alert: Alert, record: Any, *, again: bool) -> AlertJob:
    """Return the job of delivering *alert*, which lies in *record*."""
    taken_at = asyncio.get_running_loop().time()
    return AlertJob((partition,), taken_at, alert=alert, record=record, again=again)
