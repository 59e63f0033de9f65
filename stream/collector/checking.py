"""Checking: an event becomes a record that the worker will take, or the reason why not."""

from typing import Any, Final, NamedTuple

import msgspec
from pydantic_core import ValidationError
from xxhash import xxh3_64_intdigest

from scoring.errors import BadRecord, Reason
from scoring.events import TYPE_TOPICS, bad_record, check_event, decoders
from stream.collector.write_keys import Sender

EVENT_BYTES: Final = 32_768
"""Of one event, as Segment has it."""

_encode = msgspec.json.Encoder().encode


class Checked(NamedTuple):
    """One record for Kafka."""

    topic: str
    """Without the prefix."""
    key: bytes | None
    """The account, None where it is not known."""
    value: bytes
    identity: int
    """The same for a repeat, and for nothing else: a hash of topic, source and id."""


class Fault(msgspec.Struct, frozen=True):
    """Why one event of a request is not taken, or why nothing follows from it."""

    index: int
    """Its place in the request, from 0."""
    id: str | None
    reason: str
    problem: str


class Checker:
    """Checks events by the contract, each as the worker will."""

    def __init__(self, *, keep_ip: bool) -> None:
        self._decoders = decoders()
        self._keep_ip = keep_ip

    def checked(self, event: dict[str, Any], sender: Sender, now: float) -> Checked:
        """Return the record of *event*; *now* is the wall clock. Raises BadRecord."""
        type_ = event.get("type")
        if not isinstance(type_, str) or type_ not in TYPE_TOPICS:
            reason = Reason.MISSING_FIELD if type_ is None else Reason.UNKNOWN_TYPE
            raise BadRecord(reason, f"field type: must be one of {', '.join(TYPE_TOPICS)}")
        if not sender.may_send(type_):
            raise BadRecord(
                Reason.UNKNOWN_TYPE, f"a key of kind {sender.kind} may not send {type_} events"
            )
        if not self._keep_ip:
            event.pop("ip", None)
        value = _encode(event)
        if len(value) > EVENT_BYTES:
            raise BadRecord(
                Reason.TOO_LARGE, f"{len(value)} bytes; at most {EVENT_BYTES} are taken"
            )
        try:
            check_event(self._decoders[type_](value), now=now)
        except ValidationError as error:
            raise bad_record(error) from None
        return _record(event, TYPE_TOPICS[type_], value)


def _record(event: dict[str, Any], topic: str, value: bytes) -> Checked:
    account_id, source = event.get("account_id"), event["source"]
    key = None if account_id is None else account_id.encode("utf-8", "surrogatepass")
    identity = f"{topic}\x1f{len(source)}:{source}{event['id']}"
    digest = xxh3_64_intdigest(identity.encode("utf-8", "surrogatepass"))
    return Checked(topic, key, value, digest)


def fault(index: int, event: object, error: BadRecord) -> Fault:
    """Return why the event at *index* is not taken."""
    return Fault(index, told_id(event), error.reason.value, error.detail)


def told_id(event: object) -> str | None:
    """Return the id that *event* came with, None where it has none."""
    if not isinstance(event, dict):
        return None
    given = event.get("messageId") or event.get("id")
    return str(given)[:512] if given else None
