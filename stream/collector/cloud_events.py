"""CloudEvents 1.0 over HTTP as events of our contract: pure functions.

`id`, `source` and `time` are the event's own. The last segments of `type` are our type, and our
action where it has one: `com.example.email.opened`. The data is the rest of our contract's fields;
`subject` is the account where the data names none.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from scoring.errors import BadRecord, Reason
from scoring.events import TYPE_TOPICS

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
HEADER: Final = "ce-"
SPEC_VERSION: Final = "1.0"

Event = dict[str, Any]


def of_structured(cloud_event: object) -> Event:
    """Return the event of a decoded CloudEvent. Raises BadRecord."""
    if not isinstance(cloud_event, dict):
        raise BadRecord(Reason.NOT_AN_OBJECT, "a CloudEvent is a JSON object")
    attributes = {name: value for name, value in cloud_event.items() if name != "data"}
    if "data_base64" in cloud_event:
        raise BadRecord(Reason.WRONG_TYPE, "field data_base64: data must be a JSON object in data")
    return _event(attributes, cloud_event.get("data"))


def of_binary(headers: Mapping[str, str], body: bytes) -> Event:
    """Return the event of a request in binary mode: attributes as headers, data as body.

    *headers* have lower-case names. Raises BadRecord.
    """
    attributes = {
        name.removeprefix(HEADER): unquote(value)
        for name, value in headers.items()
        if name.startswith(HEADER)
    }
    try:
        data = msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRecord(Reason.NOT_JSON, f"the data is no JSON: {error}") from None
    return _event(attributes, data)


def _event(attributes: Mapping[str, Any], data: object) -> Event:
    if attributes.get("specversion") != SPEC_VERSION:
        said = str(attributes.get("specversion"))[:20]
        raise BadRecord(Reason.OUT_OF_RANGE, f"field specversion: {said!r} is not {SPEC_VERSION!r}")
    missing = [name for name in ("id", "source", "type") if not attributes.get(name)]
    if missing:
        raise BadRecord(Reason.MISSING_FIELD, f"a CloudEvent needs {', '.join(missing)}")
    if data is not None and not isinstance(data, dict):
        raise BadRecord(Reason.NOT_AN_OBJECT, "the data must be a JSON object")
    type_, action = _kind(str(attributes["type"]))
    event: Event = {**(data or {}), "type": type_}
    event |= {name: attributes[name] for name in ("id", "source")}
    if action is not None:
        event.setdefault("action", action)
    if attributes.get("time"):
        event["time"] = attributes["time"]
    if attributes.get("subject"):
        event.setdefault("account_id", attributes["subject"])
    return event


def _kind(type_: str) -> tuple[str, str | None]:
    """Return our type, and action, at the end of a CloudEvent's *type*.

    >>> _kind("com.example.email.opened"), _kind("com.example.page_visit"), _kind("chat")
    (('email', 'opened'), ('page_visit', None), ('chat', None))
    """
    *_, before, last = ["", *type_.split(".")]
    if last in TYPE_TOPICS:
        return last, None
    if before in TYPE_TOPICS:
        return before, last
    raise BadRecord(
        Reason.UNKNOWN_TYPE,
        f"field type: {type_[:100]!r} does not end with a type of ours, such as .page_visit",
    )
