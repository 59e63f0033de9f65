"""What became of alerts: the compacted topic `deliveries`, which is the notifier's memory."""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec
import xxhash

from scoring.report import parse_time, rfc3339
from stream.notify.alert import Alert
from stream.notify.policy import Outcome
from stream.outputs import Message
from stream.topics import DELIVERIES

FINAL: Final = frozenset(Outcome) - {Outcome.HELD, Outcome.SKIPPED}
KEPT_SECONDS: Final = 15 * 7 * 86_400.0
"""A week longer than `alerts` keeps its records; what is older is forgotten there too."""


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of `deliveries`: what became of an alert on a route."""

    alert_id: str
    route: str
    account_id: str
    outcome: str
    at: str
    detail: str | None
    digest: str | None = None
    """Of what is held: the digest that it is part of, once that is fixed."""
    offset: int | None = None
    """Of what is held: where it lies in `alerts`."""
    timestamp: int | None = None
    alert: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """Of what is held: the whole alert."""

    @property
    def key(self) -> str:
        """Return the key of the record."""
        return f"{self.alert_id}|{self.route}"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Delivery).decode


def delivery(
    alert: Alert, route: str, outcome: Outcome, *, now: float, detail: str | None = None
) -> Delivery:
    """Return the record of what became of *alert* on *route* at *now*."""
    return Delivery(alert.id, route, alert.account_id, outcome, rfc3339(round(now, 3)), detail)


def decode_delivery(value: bytes) -> Delivery | None:
    """Return the record in *value*, None when it is none of ours."""
    try:
        return _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def message_of(each: Delivery, partition: int) -> Message:
    """Return *each* as it is produced: into the partition of its account's alerts."""
    return Message(DELIVERIES, each.key.encode(), _encode(each), partition)


class Found(NamedTuple):
    """What a partition of `deliveries` held."""

    held: dict[str, Delivery]
    """Key -> what waits for a digest, in the order in which it was held back."""
    old: list[bytes]
    """Keys that no alert can come back to."""


class Memory:
    """The outcomes of one partition's alerts, as hashes: about 100 bytes each."""

    def __init__(self) -> None:
        self._outcomes: dict[int, Outcome] = {}

    def __len__(self) -> int:
        return len(self._outcomes)

    def outcome(self, alert_id: str, route: str) -> Outcome | None:
        """Return what became of an alert on a route, None when it is not settled."""
        return self._outcomes.get(_hash(f"{alert_id}|{route}"))

    def note(self, each: Delivery) -> None:
        """Remember *each*, if it settles its alert."""
        if each.outcome in FINAL:
            self._outcomes[_hash(each.key)] = Outcome(each.outcome)

    def load(self, records: Iterable[tuple[bytes | None, bytes | None]], *, now: float) -> Found:
        """Remember the (key, value) of *records*, in their order; return what else they say."""
        newest: dict[str, Delivery] = {}
        old: dict[bytes, None] = {}
        for key, value in records:
            text = (key or b"").decode("utf-8", "replace")
            newest.pop(text, None)
            if value is None or (each := decode_delivery(value)) is None:
                continue
            if _age(each, now) > KEPT_SECONDS:
                old[key or b""] = None
            elif each.outcome == Outcome.HELD:
                newest[text] = each
            else:
                self.note(each)
        return Found(newest, [key for key in old if key])


def _age(each: Delivery, now: float) -> float:
    try:
        return now - parse_time(each.at)
    except ValueError:
        return 0.0


def _hash(key: str) -> int:
    return xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass"))
