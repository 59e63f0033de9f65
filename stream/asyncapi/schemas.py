"""Payloads as JSON Schema: of the event contract, and of the shapes of what is produced."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from scoring import events
from stream.asyncapi import shapes
from stream.asyncapi.fields import meaning

Json = dict[str, Any]

PLACE: Final = "#/components/schemas/"
COMMON: Final = "Common"

INPUT_MESSAGES: Final[Mapping[str, tuple[Any, ...]]] = {
    "ad-impressions": (events.Ad,),
    "page-visits": (events.PageVisit,),
    "chats": (events.Chat,),
    "emails": (events.Email,),
    "meetings": (events.Meeting,),
    "intent-signals": (events.Intent,),
    "accounts": (events.AccountRecord, events.AccountRemoved),
    "contacts": (events.ContactRecord, events.ContactRemoved),
    "opportunities": (events.Opportunity,),
    "spend": (events.Spend,),
    "surveys": (events.Survey,),
    "identities": (events.Identify,),
}
"""Input topic -> the shapes of its messages; where there are several, `action` tells them apart."""

OUTPUT_SHAPES: Final = (
    shapes.Transfer,
    shapes.ScoreChange,
    shapes.Alert,
    shapes.Acknowledgement,
    shapes.Mute,
    shapes.Delivery,
)

_UNSAID: Final[Mapping[tuple[str, str], Json]] = {
    ("Meeting", "attendee_ids"): {"uniqueItems": True},
    ("Intent", "strength"): {"default": 1},
}
"""Rules that pydantic holds in Python, and so does not tell of."""

_ONE_OF_THEM: Final = [{"required": ["contact_id"]}, {"required": ["email"]}]


def reference(schema: str) -> Json:
    """Return the reference to a component.

    >>> reference("Alert")
    {'$ref': '#/components/schemas/Alert'}
    """
    return {"$ref": f"{PLACE}{schema}"}


def payload_schemas() -> dict[str, Json]:
    """Return name -> JSON Schema (draft-07) of every payload and its parts."""
    return _input_schemas() | _output_schemas()


def _input_schemas() -> dict[str, Json]:
    common = _whole(events.Common, COMMON)
    common["description"] = "Fields of every event; unknown fields are ignored."
    own = {
        shape.__name__: _without(_whole(shape, shape.__name__), common)
        for messages in INPUT_MESSAGES.values()
        for shape in messages
    }
    # No schema of the contract says it: the check after it does.
    own["Identify"]["anyOf"] = _ONE_OF_THEM
    return {COMMON: common} | own


def _whole(shape: Any, name: str) -> Json:
    """Return the schema of an input message, its fields described."""
    found: Json = _plain(TypeAdapter(shape).json_schema())
    parts = found.pop("$defs", {})
    for field, schema in found["properties"].items():
        described = {"description": meaning(name, field)} | _part(schema, parts)
        found["properties"][field] = described | _UNSAID.get((name, field), {})
    found["properties"]["time"]["format"] = "date-time"
    return found


def _part(schema: Json, parts: Json) -> Json:
    """Return *schema*, an object in its place with its fields described."""
    if "$ref" not in schema:
        return schema
    found: Json = parts[schema["$ref"].rpartition("/")[2]]
    fields = found["properties"].items()
    described = {field: {"description": meaning("", field)} | each for field, each in fields}
    return {k: v for k, v in found.items() if k != "description"} | {"properties": described}


def _without(schema: Json, common: Json) -> Json:
    """Return *schema* as *common* and what it adds to that."""
    shared = common["properties"]
    properties = {n: s for n, s in schema["properties"].items() if shared.get(n) != s}
    return {
        "description": schema["description"],
        "allOf": [reference(COMMON)],
        "type": "object",
        "required": [n for n in schema["required"] if n not in common["required"]],
        "properties": properties,
    }


def _output_schemas() -> dict[str, Json]:
    found: dict[str, Json] = {}
    for shape in OUTPUT_SHAPES:
        schema = TypeAdapter(shape).json_schema(ref_template=f"{PLACE}{{model}}")
        parts = schema.pop("$defs", {})
        found |= {name: _plain(part) for name, part in parts.items()}
        found[shape.__name__] = _plain(schema)
    found["Why"]["properties"] |= {
        "from": {"description": "The stage before.", "type": "string"},
        "to": {"description": "The stage after.", "type": "string"},
    }
    return found


def _plain(schema: Any) -> Any:
    """Return *schema* without made-up titles, and what may be null as a list of types."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {k: _plain(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}
    options = found.get("anyOf", [])
    if len(options) == 2 and options[1] == {"type": "null"} and "$ref" not in options[0]:
        del found["anyOf"]
        found |= options[0] | {"type": [options[0]["type"], "null"]}
        if "enum" in found:
            found["enum"] = [*found["enum"], None]
    if "$ref" in found and len(found) > 1:  # whoever reads a reference ignores what is beside it
        found["allOf"] = [{"$ref": found.pop("$ref")}]
    if isinstance(found.get("description"), str):
        found["description"] = found["description"].replace("``", "`")
    return found
