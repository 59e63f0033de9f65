"""Decoding: the records of a micro-batch, each validated alone, and what becomes of each."""

from collections.abc import Callable
from typing import Final

import msgspec
from pydantic_core import ValidationError

from scoring.errors import BadRecord, Reason
from scoring.events import TOPIC_TYPES, Decoder, Event, bad_record, check_event, decoders
from scoring.fold import Outcome
from stream.micro_batch import Record
from stream.outputs import Message

NEVER: Final = float("-inf")


class Decoded(msgspec.Struct, gc=False):
    """One record after validation: an event, or the reason why it is none; and where it goes.

    The last three are for whoever decides that.
    """

    # One for each record: msgspec makes them in a third of the time that named tuples take.

    record: Record
    event: Event | None
    time: float
    """Event time in Unix seconds, before all times for bad records."""
    error: BadRecord | None
    account_id: str | None = None
    """The account that it is folded into here; None when it is not."""
    outcome: Outcome = Outcome.SCORED
    message: Message | None = None
    """What is produced of it."""


DecodeRecord = Callable[[Record, float], Decoded]


def record_decoder(topic: str, *, max_bytes: int) -> DecodeRecord:
    """Return the function that decodes a record of *topic* (without prefix).

    It takes the record and the wall clock (Unix seconds), and raises nothing.
    """
    decode: Decoder = decoders()[TOPIC_TYPES[topic]]

    def decoded(record: Record, now: float) -> Decoded:
        value = record.value
        try:
            if value is None or len(value) > max_bytes:
                raise _unreadable(value, max_bytes)
            event = decode(value)
            return Decoded(record, event, check_event(event, now=now), None)
        except ValidationError as error:
            return Decoded(record, None, NEVER, bad_record(error))
        except BadRecord as error:
            # Its traceback leads back to whoever holds the decoded records: a cycle, of objects
            # that the collector of cycles does not know.
            return Decoded(record, None, NEVER, error.with_traceback(None))

    return decoded


def _unreadable(value: bytes | None, max_bytes: int) -> BadRecord:
    if value is None:
        return BadRecord(Reason.EMPTY, "the record has no value")
    return BadRecord(Reason.TOO_LARGE, f"{len(value)} bytes; at most {max_bytes} are read")
