"""`/v1/events`: CloudEvents in all three modes, and our own contract, one event or many."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scoring.errors import BadRecord, Reason
from scoring.report import rfc3339
from stream.collector import cloud_events
from stream.collector.bodies import decoded, read_body
from stream.collector.checking import Fault, fault
from stream.collector.collector import Asking, Collector
from stream.web.problems import Problem

LINES: Final = frozenset({"application/x-ndjson", "application/jsonl"})
JSON: Final = frozenset({"application/json", ""})

_encode = msgspec.json.Encoder().encode

Parsed = tuple[int, dict[str, Any] | BadRecord, object]
"""Place in the request, the event or what is wrong with it, and what came."""


async def take_events(request: Request, collector: Collector) -> Response:
    """Take one event or many; what is wrong with some does not hold up the others."""
    body = await read_body(request)
    with collector.holding(len(body)):
        asking = collector.asking(request, request.query_params.get("writeKey"))
        events, faults = [], list[Fault]()
        for index, found, came in _parsed(request, body):
            if isinstance(found, BadRecord):
                faults.append(fault(index, came, found))
            else:
                events.append((index, _signed(found, asking, collector)))
        records, wrong = collector.checked(events, asking)
        faults += wrong
        if faults:
            collector.metrics.events.labels("refused").inc(len(faults))
        await collector.deliver(records)
    if faults and not records:
        errors = [{"reason": each.reason, "problem": each.problem} for each in faults[:10]]
        raise Problem(422, f"{faults[0].problem}.", errors=errors)
    said = {"accepted": len(records), "errors": faults}
    return Response(_encode(said), media_type="application/json")


def _signed(event: dict[str, Any], asking: Asking, collector: Collector) -> dict[str, Any]:
    """Return *event* with the source and the time that it may leave out.

    A browser's key speaks for its source alone.
    """
    if asking.sender.kind == "browser":
        event["source"] = asking.sender.source
    else:
        event.setdefault("source", asking.sender.source)
    if "time" not in event:
        event["time"] = rfc3339(round(collector.clock(), 3))
    return event


def _parsed(request: Request, body: bytes) -> Iterator[Parsed]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == cloud_events.STRUCTURED:
        yield from _each([decoded(body)], cloud_event=True)
    elif kind == cloud_events.BATCHED:
        batch = decoded(body)
        if not isinstance(batch, list):
            raise Problem(400, "A batch of CloudEvents is a JSON array.")
        yield from _each(batch, cloud_event=True)
    elif "ce-specversion" in request.headers:
        try:
            yield 0, cloud_events.of_binary(request.headers, body), None
        except BadRecord as error:
            yield 0, error, {"id": request.headers.get("ce-id")}
    elif kind in LINES:
        yield from _lines(body)
    elif kind in JSON:
        found = decoded(body)
        yield from _each(found if isinstance(found, list) else [found], cloud_event=False)
    else:
        raise Problem(
            415,
            "Content-Type must be application/json, application/x-ndjson, or one of CloudEvents.",
        )


def _each(items: list[Any], *, cloud_event: bool) -> Iterator[Parsed]:
    for index, item in enumerate(items):
        try:
            yield index, cloud_events.of_structured(item) if cloud_event else _own(item), item
        except BadRecord as error:
            yield index, error, item


def _own(item: object) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise BadRecord(Reason.NOT_AN_OBJECT, "an event must be a JSON object")
    return item


def _lines(body: bytes) -> Iterator[Parsed]:
    lines = [line for line in body.splitlines() if line.strip()]
    for index, line in enumerate(lines):
        try:
            item = msgspec.json.decode(line)
            yield index, _own(item), item
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield index, BadRecord(Reason.NOT_JSON, f"the line is no JSON: {error}"), None
        except BadRecord as error:
            yield index, error, None
