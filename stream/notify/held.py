"""What is held back: by endpoint and owner, until it is sent as one digest.

It lies in `deliveries` as well, whole, so that a restart finds it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiokafka.structs import ConsumerRecord

from scoring.errors import BadRecord
from scoring.report import parse_time
from stream.notify.alert import Alert, decode_alert
from stream.notify.matching import Destination
from stream.notify.memory import Delivery
from stream.notify.partitions import Partition
from stream.notify.routes import Routes

HELD_AT_MOST: Final = 500
"""Alerts of one digest; those beyond are only counted."""

GroupKey = tuple[str, str, str]
"""Route, address, owner."""


@dataclass(eq=False, slots=True)
class Item:
    """One alert that is held back."""

    alert: Alert
    partition: Partition
    record: Any
    """The record of `alerts`."""
    held_at: float
    """Unix seconds."""
    digest: str | None = None
    """The digest that it is part of, once that is fixed."""


@dataclass(eq=False)
class Group:
    """What waits for one digest, the oldest first."""

    destination: Destination
    owner: str
    items: list[Item] = field(default_factory=list)
    left_out: int = 0
    """How many more there were."""
    sending: bool = False

    @property
    def full(self) -> bool:
        """Tell whether more are only counted."""
        return len(self.items) >= HELD_AT_MOST


class Held:
    """All groups of this process."""

    def __init__(self) -> None:
        self._groups: dict[GroupKey, Group] = {}

    def of(self, destination: Destination, owner: str) -> Group | None:
        """Return what waits for *owner* at *destination*, None when nothing does."""
        return self._groups.get((*destination.key, owner))

    def add(self, destination: Destination, item: Item) -> Group:
        """Hold back *item*; return the group that it is in now."""
        owner = item.alert.owner
        group = self._groups.setdefault((*destination.key, owner), Group(destination, owner))
        group.items.append(item)
        return group

    def remove(self, group: Group, items: list[Item]) -> None:
        """Let go of *items*, and of *group* when none is left."""
        gone = set(map(id, items))
        group.items = [item for item in group.items if id(item) not in gone]
        key = (*group.destination.key, group.owner)
        if not group.items and self._groups.get(key) is group:
            del self._groups[key]

    def release(self, partition: Partition) -> None:
        """Let go of what belongs to *partition*: another process has it now."""
        for group in list(self._groups.values()):
            self.remove(group, [item for item in group.items if item.partition is partition])

    def counts(self) -> dict[str, int]:
        """Return route -> how many are held back."""
        total: dict[str, int] = {}
        for (route, _, _), group in self._groups.items():
            total[route] = total.get(route, 0) + len(group.items)
        return total

    def __iter__(self) -> Iterator[Group]:
        return iter(list(self._groups.values()))


def item_of(each: Delivery, partition: Partition, *, topic: str) -> Item | None:
    """Return what the record *each* of `deliveries` holds back, None when it cannot be read."""
    if isinstance(each.alert, msgspec.UnsetType):
        return None
    raw = bytes(each.alert)
    try:
        alert = decode_alert(raw)
        held_at = parse_time(each.at)
    except (BadRecord, ValueError):
        return None
    record = ConsumerRecord(
        topic=topic,
        partition=partition.number,
        offset=-1 if each.offset is None else each.offset,
        timestamp=-1 if each.timestamp is None else each.timestamp,
        timestamp_type=0,
        key=each.account_id.encode("utf-8", "surrogatepass"),
        value=raw,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        headers=(),
    )
    return Item(alert, partition, record, held_at, each.digest)


def destination_of(each: Item, route_name: str, routes: Routes) -> Destination | None:
    """Return where *each* goes to, None when the file has no such route any more."""
    route = routes.routes.get(route_name)
    address = None if route is None else route.address(each.alert)
    return None if route is None or address is None else Destination(route, address)
