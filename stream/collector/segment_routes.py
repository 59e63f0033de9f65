"""Segment's endpoints: one call, or a batch of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scoring.errors import BadRecord, Reason
from stream.collector.bodies import decoded_object, read_body
from stream.collector.checking import EVENT_BYTES, Fault, fault, told_id
from stream.collector.collector import Asking, Collector
from stream.collector.segment import Received, mapped, parsed_time
from stream.web.problems import Problem

UNUSED: Final = "unused"
"""Reason of a note: a call that is in order, and that nothing scored follows from."""

_encode = msgspec.json.Encoder().encode
_OK: Final = _encode({"success": True})

Calls = Sequence[tuple[int, Any]]


async def take_call(request: Request, collector: Collector) -> Response:
    """Take one call, of the type that the path says."""
    body = await read_body(request)
    if len(body) > EVENT_BYTES:
        raise Problem(413, f"One call may have {EVENT_BYTES} bytes.")
    with collector.holding(len(body)):
        call = decoded_object(body)
        asking = collector.asking(request, call.get("writeKey"))
        call["type"] = request.scope["path"].rpartition("/")[2]
        notes, faults = await take_calls(collector, asking, [(0, call)], call.get("sentAt"))
    if faults:
        errors = [{"reason": each.reason, "problem": each.problem} for each in faults]
        raise Problem(400, f"{faults[0].problem}.", errors=errors)
    return _answer(notes, ())


async def take_batch(request: Request, collector: Collector) -> Response:
    """Take a batch of calls; one that is wrong does not hold up the others."""
    body = await read_body(request)
    with collector.holding(len(body)):
        payload = decoded_object(body)
        asking = collector.asking(request, payload.get("writeKey"))
        batch = payload.get("batch")
        if not isinstance(batch, list):
            raise Problem(400, "The body must hold batch, a list of calls.")
        shared = payload.get("context")
        calls = [(index, _within(call, shared)) for index, call in enumerate(batch)]
        notes, faults = await take_calls(collector, asking, calls, payload.get("sentAt"))
    return _answer(notes, faults)


def _within(call: Any, shared: Any) -> Any:
    """Return *call* with the context that the batch gives to all."""
    if not (isinstance(shared, Mapping) and shared and isinstance(call, dict)):
        return call
    own = call.get("context")
    return call | {"context": {**shared, **(own if isinstance(own, Mapping) else {})}}


async def take_calls(
    collector: Collector, asking: Asking, calls: Calls, sent_at: object
) -> tuple[list[Fault], list[Fault]]:
    """Deliver what follows from *calls*; return notes on unused ones and what is wrong.

    Raises Problem when Kafka does not take it.
    """
    received = collector.received(asking, _sent(sent_at))
    events: list[tuple[int, dict[str, Any]]] = []
    notes, faults = list[Fault](), list[Fault]()
    for index, call in calls:
        try:
            found = mapped(_whole(call), _own(received, call))
        except BadRecord as error:
            faults.append(fault(index, call, error))
            continue
        events += [(index, event) for event in found.events]
        if found.note is not None:
            notes.append(Fault(index, told_id(call), UNUSED, found.note))
    records, wrong = collector.checked(events, asking)
    faults += wrong
    count = collector.metrics.events.labels
    if notes:
        count("unused").inc(len(notes))
    if faults:
        count("refused").inc(len(faults))
    await collector.deliver(records)
    return notes, faults


def _whole(call: object) -> Mapping[str, Any]:
    if not isinstance(call, dict):
        raise BadRecord(Reason.NOT_AN_OBJECT, "a call must be a JSON object")
    return call


def _own(received: Received, call: Mapping[str, Any]) -> Received:
    """Return *received* with the time at which the call itself says that it was sent."""
    own = _sent(call.get("sentAt"))
    return received if own is None else received._replace(sent_at=own)


def _sent(text: object) -> float | None:
    if text is None:
        return None
    try:
        return parsed_time(text)
    except BadRecord:  # the clock of the sender stays unknown
        return None


def _answer(notes: Sequence[Fault], faults: Sequence[Fault]) -> Response:
    body = _OK
    if notes or faults:
        said: dict[str, Any] = {"success": True}
        if faults:
            said["errors"] = faults
        if notes:
            said["notes"] = notes
        body = _encode(said)
    return Response(body, media_type="application/json")
