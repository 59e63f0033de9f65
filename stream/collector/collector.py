"""The collector put together: who may send, how often, and the one way in for events."""

import asyncio
import base64
import binascii
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final, NamedTuple

from starlette.requests import Request

from scoring.errors import BadRecord
from stream.collector.checking import Checked, Checker, Fault, fault
from stream.collector.delivery import Delivery
from stream.collector.metrics import CollectorMetrics
from stream.collector.segment import Received, Visitor
from stream.collector.write_keys import Door, OpenDoor, Sender, WriteKeys
from stream.errors import InvalidSetting, Unreachable
from stream.settings import Settings
from stream.web.headers import header, host_name
from stream.web.problems import Problem
from stream.web.rate_limit import RateLimit
from stream.web.serving import LOOPBACK_HOSTS

KEYS_SECONDS: Final = 2.0
"""After which a change of the keys' file counts."""
MOST_BYTES: Final = 64 * 2**20
"""Of bodies that wait for Kafka; what comes beyond is asked to come again."""
RETRY_AFTER: Final = {"Retry-After": "2"}


class Asking(NamedTuple):
    """Who sends a request."""

    sender: Sender
    visitor: Visitor | None
    """Whose browser it is; None for servers, which show their key in a header."""


class Taken(NamedTuple):
    """What became of the events of one request."""

    accepted: int
    faults: Sequence[Fault]


@dataclass
class Collector:
    """Everything that routes need; `run` keeps it connected."""

    settings: Settings
    door: Door
    limit: RateLimit
    checker: Checker
    delivery: Delivery
    metrics: CollectorMetrics
    clock: Callable[[], float] = time.time
    _bytes: int = field(default=0)

    async def run(self) -> None:
        """Stay connected to Kafka until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.delivery.run())
            tasks.create_task(self._look_at_keys())

    async def _look_at_keys(self) -> None:
        while True:
            self.door.look_again()
            await asyncio.sleep(KEYS_SECONDS)

    def wrong(self) -> str | None:
        """Return what keeps it from taking events, None when nothing does."""
        return self.delivery.fault

    def asking(self, request: Request, shown: object) -> Asking:
        """Return who sends *request*; *shown* is the key in its body or query. Raises Problem."""
        scope = request.scope
        host = host_name(header(scope, b"host") or "")
        if isinstance(self.door, OpenDoor) and host not in LOOPBACK_HOSTS:
            raise Problem(421, "The collector is not served under this host name.")
        given = header(scope, b"authorization")
        key = _key_in(given) if given is not None else shown if isinstance(shown, str) else ""
        sender = self.door.sender(key)
        address = scope["client"][0] if scope.get("client") else None
        self._check_rate(f"{sender.source if sender else ''} {address}")
        if sender is None:
            raise Problem(
                401,
                "A write key is needed: as user name of basic authentication, or as writeKey.",
                headers={"WWW-Authenticate": 'Basic realm="surgeline"'},
            )
        if not sender.lets_in(header(scope, b"origin")):
            raise Problem(403, "Pages of this origin may not use this write key.")
        if given is not None:
            return Asking(sender, None)
        return Asking(sender, Visitor(address, header(scope, b"user-agent")))

    def _check_rate(self, who: str) -> None:
        seconds = self.limit.wait(who)
        if seconds:
            headers = {"Retry-After": str(ceil(seconds))}
            raise Problem(429, "Too many requests; send again later.", headers=headers)

    def received(self, asking: Asking, sent_at: float | None) -> Received:
        """Return what is known of a call beside itself."""
        source = asking.sender.source
        return Received(self.clock(), sent_at, source, asking.visitor, lambda: str(uuid.uuid4()))

    def checked(
        self, events: Sequence[tuple[int, dict[str, Any]]], asking: Asking
    ) -> tuple[list[Checked], list[Fault]]:
        """Return the records of *events* (place in the request, event), and what is wrong."""
        now, records, faults = self.clock(), [], []
        for index, event in events:
            try:
                records.append(self.checker.checked(event, asking.sender, now))
            except BadRecord as error:
                faults.append(fault(index, event, error))
        return records, faults

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold *size* bytes of a body; raises Problem when too many are held."""
        if self._bytes + size > MOST_BYTES:
            raise Problem(503, "Too much waits for Kafka; send again.", headers=RETRY_AFTER)
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size

    async def deliver(self, records: Sequence[Checked]) -> None:
        """Return once Kafka has all *records*. Raises Problem."""
        try:
            repeats = await self.delivery.send(records)
        except Unreachable as error:
            self.metrics.events.labels("failed").inc(len(records))
            raise Problem(503, f"{error} Send again.", headers=RETRY_AFTER) from error
        self.metrics.accepted.inc(len(records) - repeats)
        if repeats:
            self.metrics.events.labels("repeated").inc(repeats)


def _key_in(authorization: str) -> str:
    """Return the key that the header shows: a user without password, or a bearer's token."""
    kind, _, given = authorization.partition(" ")
    if kind.lower() == "bearer":
        return given.strip()
    try:
        shown = base64.b64decode(given, validate=True).decode() if kind.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return shown.partition(":")[0]


def assemble(settings: Settings) -> Collector:
    """Return the collector of *settings*; nothing is opened yet.

    Raises InvalidSetting when it would let in everybody from other machines.
    """
    metrics = CollectorMetrics()
    delivery = Delivery(settings, metrics)
    collector = Collector(
        settings=settings,
        door=door_of(settings),
        limit=RateLimit(settings.collector_rate),
        checker=Checker(keep_ip=settings.collector_keep_ip),
        delivery=delivery,
        metrics=metrics,
    )
    metrics.watch(
        waiting=lambda: float(delivery.waiting), ready=lambda: float(collector.wrong() is None)
    )
    return collector


def door_of(settings: Settings) -> Door:
    """Return who is let in; raises InvalidSetting."""
    if settings.collector_keys_file is not None:
        return WriteKeys(settings.collector_keys_file)
    if settings.collector_host not in LOOPBACK_HOSTS:
        raise InvalidSetting(
            f"SURGELINE_COLLECTOR_HOST={settings.collector_host}: other machines reach the collector "
            "there, so SURGELINE_COLLECTOR_KEYS_FILE must say who may send; `surgeline "
            "collector-key SOURCE` makes write keys."
        )
    return OpenDoor()
