"""The event contract: what a record must look like to be scored.

JSON, one object per record, UTF-8. TypedDicts rather than models: pydantic validates them
in Rust straight into plain dicts, several times faster than into instances, and the fold
reads plain dicts fastest. Types are strict (``"12"`` is not a number, null is no value);
unknown fields are ignored, unknown types and actions are not.

Pydantic is the judge of every record and finds the words for bad ones. Most records are good
ones of five types, and msgspec sees that in a third of the time: what it accepts under the
same TypedDicts is accepted, all else goes to the judge.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta
from pydantic import AfterValidator, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, ValidationError, core_schema

# pydantic needs typing_extensions' TypedDict below Python 3.12.
from typing_extensions import NotRequired, TypedDict, get_type_hints

from scoring.errors import BadRecord, Reason

MAX_ATTENDEES: Final = 200
FUTURE_TOLERANCE_SECONDS: Final = 300.0
YEAR_ONE: Final = -62_135_596_800.0
"""0001-01-01T00:00:00Z in Unix seconds: no calendar here writes earlier times."""

_RFC3339 = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)


class _Rfc3339:
    """Core schema of a time stamp: the shape first, then the calendar, both in Rust.

    Pydantic alone would also take bare dates, blanks for the ``T`` and Unix numbers.
    """

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: object, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.chain_schema(
            [
                core_schema.str_schema(pattern=_RFC3339, strict=True),
                core_schema.datetime_schema(tz_constraint="aware", strict=False),
            ]
        )


def _distinct(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("must be distinct")
    return values


Time: TypeAlias = Annotated[dt.datetime, _Rfc3339]
Text: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=512), Meta(min_length=1, max_length=512)
]
Url: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=2048), Meta(min_length=1, max_length=2048)
]
NotNegative: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False), Meta(ge=0)]
Strength: TypeAlias = Annotated[
    float, Field(ge=0, le=1000, allow_inf_nan=False), Meta(ge=0, le=1000)
]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Attendees: TypeAlias = Annotated[
    list[Text], Field(max_length=MAX_ATTENDEES), AfterValidator(_distinct)
]
Direction: TypeAlias = Literal["inbound", "outbound"]
Seniority: TypeAlias = Literal["c_level", "vp", "director", "manager", "other"]
OpportunityKind: TypeAlias = Literal["new", "renewal", "expansion"]


class Resolution(TypedDict):
    """How the account of an event was found that named none; see `scoring.resolution`."""

    __pydantic_config__ = ConfigDict(strict=True, extra="ignore")  # type: ignore[misc]

    by: Text
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), Meta(ge=0, le=1)]
    rolled_up_from: NotRequired[Text]


class Common(TypedDict):
    """Fields of every event; (``source``, ``id``) is the dedupe key, ``time`` event time."""

    __pydantic_config__ = ConfigDict(strict=True, extra="ignore")  # type: ignore[misc]

    id: Text
    source: Text
    time: Time
    account_id: NotRequired[Text]
    contact_id: NotRequired[Text]
    anonymous_id: NotRequired[Text]
    email: NotRequired[Text]
    resolution: NotRequired[Resolution]


class Ad(Common):
    """An advertisement was shown or clicked."""

    type: Literal["ad"]
    action: Literal["impression", "click"]
    campaign_id: Text
    placement: Literal["web", "email_signature"]
    cost: NotRequired[NotNegative]


class PageVisit(Common):
    """Somebody read a page of ours."""

    type: Literal["page_visit"]
    url: Url
    duration_seconds: NotRequired[NotNegative]
    referrer: NotRequired[Url]
    session_id: NotRequired[Text]
    user_agent: NotRequired[Text]
    ip: NotRequired[Text]
    network_host: NotRequired[Text]
    http_status: NotRequired[int]


class Chat(Common):
    """A chat on our site; ``inbound`` comes from the account."""

    type: Literal["chat"]
    action: Literal["started", "message", "ended"]
    conversation_id: Text
    direction: Direction
    duration_seconds: NotRequired[NotNegative]


class Email(Common):
    """An email between the account and us, or what became of it."""

    type: Literal["email"]
    action: Literal["sent", "opened", "clicked", "replied", "bounced", "unsubscribed"]
    direction: Direction
    rep_id: NotRequired[Text]
    campaign_id: NotRequired[Text]
    subject: NotRequired[Text]
    user_agent: NotRequired[Text]


class Meeting(Common):
    """A meeting between the account and us."""

    type: Literal["meeting"]
    action: Literal["booked", "held", "cancelled", "no_show"]
    meeting_id: Text
    duration_minutes: NotRequired[NotNegative]
    attendee_ids: NotRequired[Attendees]
    rep_id: NotRequired[Text]


class Intent(Common):
    """The account reads about a topic elsewhere (third-party content consumption)."""

    type: Literal["intent"]
    topic: Text
    strength: NotRequired[Strength]


class AccountRecord(Common):
    """What the CRM says of an account; an upsert replaces the whole earlier record."""

    type: Literal["account"]
    action: Literal["upserted"]
    account_id: Text  # type: ignore[misc]
    name: NotRequired[Text]
    domains: NotRequired[list[Text]]
    target: bool
    tier: NotRequired[Annotated[int, Field(ge=1, le=3)]]
    owner_id: NotRequired[Text]
    owner_email: NotRequired[Text]
    industry: NotRequired[Text]
    employees: NotRequired[NotNegative]
    parent_account_id: NotRequired[Text]
    icp_fit: NotRequired[Share]


class AccountRemoved(Common):
    """The CRM dropped the account, or made it part of another one: it is no target any more."""

    type: Literal["account"]
    action: Literal["removed"]
    account_id: Text  # type: ignore[misc]
    merged_into: NotRequired[Text]


class ContactRecord(Common):
    """What the CRM says of a person; an upsert replaces the whole earlier record."""

    type: Literal["contact"]
    action: Literal["upserted"]
    account_id: Text  # type: ignore[misc]
    contact_id: Text  # type: ignore[misc]
    name: NotRequired[Text]
    seniority: NotRequired[Seniority]
    role: NotRequired[Text]
    moved_from: NotRequired[Text]


class ContactRemoved(Common):
    """The person left, moved to another account, or wants to be erased."""

    type: Literal["contact"]
    action: Literal["removed"]
    account_id: Text  # type: ignore[misc]
    contact_id: Text  # type: ignore[misc]
    moved_to: NotRequired[Text]
    erase: NotRequired[bool]


class Opportunity(Common):
    """A deal, renewal or expansion in the CRM's pipeline."""

    type: Literal["opportunity"]
    action: Literal["opened", "updated", "won", "lost", "churned"]
    account_id: Text  # type: ignore[misc]
    opportunity_id: Text
    kind: OpportunityKind
    amount: NotRequired[NotNegative]
    currency: NotRequired[Text]
    term_years: NotRequired[NotNegative]


class Spend(Common):
    """Money spent on a programme; belongs to no account."""

    type: Literal["spend"]
    amount: NotNegative
    currency: Text
    program: Text
    channel: NotRequired[Text]


class Survey(Common):
    """An answer to a survey."""

    type: Literal["survey"]
    kind: Literal["nps"]
    score: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]


class Identify(Common):
    """This visitor is that person: needs ``contact_id`` or ``email``."""

    type: Literal["identify"]
    anonymous_id: Text  # type: ignore[misc]


Event: TypeAlias = dict[str, Any]
"""A validated event as the fold reads it: the fields above plus nothing."""

_ACCOUNT: TypeAlias = Annotated[AccountRecord | AccountRemoved, Field(discriminator="action")]
_CONTACT: TypeAlias = Annotated[ContactRecord | ContactRemoved, Field(discriminator="action")]

TOPIC_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ad-impressions": "ad",
        "page-visits": "page_visit",
        "chats": "chat",
        "emails": "email",
        "meetings": "meeting",
        "intent-signals": "intent",
        "accounts": "account",
        "contacts": "contact",
        "opportunities": "opportunity",
        "spend": "spend",
        "surveys": "survey",
        "identities": "identify",
    }
)
"""Input topic -> the one event type that it carries."""

TYPE_TOPICS: Final[Mapping[str, str]] = MappingProxyType(
    {type_: topic for topic, type_ in TOPIC_TYPES.items()}
)

ENGAGEMENT_TYPES: Final = frozenset({"ad", "page_visit", "chat", "email", "meeting", "intent"})
"""The types whose events add points; horizon, caps and ``events`` look at these."""

_SCHEMAS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "ad": Ad,
        "page_visit": PageVisit,
        "chat": Chat,
        "email": Email,
        "meeting": Meeting,
        "intent": Intent,
        "account": _ACCOUNT,
        "contact": _CONTACT,
        "opportunity": Opportunity,
        "spend": Spend,
        "survey": Survey,
        "identify": Identify,
    }
)

_RFC3339_SAID: Final = "must be RFC 3339 with an offset, such as 2026-01-31T09:30:00Z"
"""Only times have a pattern, and nobody wants to read it."""

_TAGS: Final = frozenset(_SCHEMAS) | {"upserted", "removed"}

_REASONS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        "json_invalid": Reason.NOT_JSON,
        "dict_type": Reason.NOT_AN_OBJECT,
        "missing": Reason.MISSING_FIELD,
        "greater_than_equal": Reason.OUT_OF_RANGE,
        "less_than_equal": Reason.OUT_OF_RANGE,
        "finite_number": Reason.OUT_OF_RANGE,
        "int_parsing_size": Reason.OUT_OF_RANGE,
        "string_too_short": Reason.OUT_OF_RANGE,
        "string_too_long": Reason.OUT_OF_RANGE,
        "too_long": Reason.OUT_OF_RANGE,
        "value_error": Reason.OUT_OF_RANGE,
        "literal_error": Reason.OUT_OF_RANGE,
    }
)

Decoder: TypeAlias = Callable[[bytes], Event]


_FREQUENT: Final = frozenset({"ad", "page_visit", "chat", "email", "intent"})
"""Types that msgspec may accept: all their rules are types, lengths and bounds."""

_PLAIN_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
).fullmatch
_UTC: Final = frozenset({"Z", "+00:00"})


def _is_plain(time: str) -> bool:
    """Tell whether *time*, if `datetime.fromisoformat` takes it, is RFC 3339 with an offset."""
    # The expression takes thrice as long as these looks at what most producers write. Behind a NUL
    # `fromisoformat` reads nothing.
    ends = time[19:] in _UTC or (time[19:20] == "." and (time[26:] in _UTC or time[23:] in _UTC))
    if ends and time[4:17:3] == "--T::" and "\0" not in time:
        return True
    return _PLAIN_TIME(time) is not None


def decoders() -> dict[str, Decoder]:
    """Return one validating decoder per event type (raises pydantic's ValidationError).

    One adapter per type costs half of one adapter over the whole union.
    """
    judges: dict[str, Decoder] = {
        type_: TypeAdapter(schema).validator.validate_json for type_, schema in _SCHEMAS.items()
    }
    quick = {type_: _quick_decoder(_SCHEMAS[type_], judges[type_]) for type_ in _FREQUENT}
    return judges | quick


_DEEPEST: Final = 200
"""How deep pydantic reads JSON; msgspec skips unknown fields of any depth, by Python's version."""


def _may_be_deep(value: bytes) -> bool:
    return len(value) > 2 * _DEEPEST and value.count(b"[") + value.count(b"{") > _DEEPEST


def _quick_decoder(schema: Any, judge: Decoder) -> Decoder:
    """Return a decoder that accepts plain records by itself and asks *judge* about all others."""
    fields = get_type_hints(schema, include_extras=True) | {"time": str}
    # Built at run time: with its time as text, since msgspec takes more than RFC 3339 for one.
    plain: Any = TypedDict("plain", fields)  # type: ignore[misc]  # mypy wants a literal
    decode: Any = msgspec.json.Decoder(plain).decode
    parse_time = dt.datetime.fromisoformat

    def decoded(value: bytes) -> Event:
        if _may_be_deep(value):
            return judge(value)
        try:
            # msgspec leaves the bytes of strings that it skips unread.
            event: Event = decode(value if value.isascii() else value.decode())
            time = event["time"]
            if not _is_plain(time):
                return judge(value)
            event["time"] = parse_time(time)
        except (ValueError, RecursionError):  # all of msgspec's errors are ValueErrors
            return judge(value)
        return event

    return decoded


def any_decoder() -> Decoder:
    """Return a decoder for records of any type, for files that mix them.

    Raises pydantic's ValidationError like the decoders of one type.
    """
    union: Any = Annotated[
        Ad
        | PageVisit
        | Chat
        | Email
        | Meeting
        | Intent
        | _ACCOUNT
        | _CONTACT
        | Opportunity
        | Spend
        | Survey
        | Identify,
        Field(discriminator="type"),
    ]
    return TypeAdapter(union).validator.validate_json


def bad_record(error: ValidationError) -> BadRecord:
    """Translate pydantic's *error* into one reason of the closed list and one sentence."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = next((p for p in problems if p["loc"] and p["loc"][-1] == "type"), problems[0])
    kind = first["type"]
    place = list(first["loc"])
    while len(place) > 1 and place[0] in _TAGS:  # the tags of unions lead the way to a field
        del place[0]
    path = ".".join(str(part) for part in place)
    reason = _REASONS.get(kind, Reason.WRONG_TYPE)
    leaf = str(first["loc"][-1]) if first["loc"] else ""
    if kind in ("union_tag_invalid", "union_tag_not_found", "literal_error"):
        reason = _tag_reason(kind, leaf, first["msg"])
    elif kind == "dict_type" and path:
        reason = Reason.WRONG_TYPE
    elif leaf == "time" and kind.startswith(("datetime", "string_pattern", "timezone")):
        reason = Reason.BAD_TIME
    subject = f"field {path}: " if path else ""
    said = _RFC3339_SAID if kind == "string_pattern_mismatch" else first["msg"]
    return BadRecord(reason, f"{subject}{said.removeprefix('Value error, ')}"[:500])


def _tag_reason(kind: str, leaf: str, message: str) -> Reason:
    # Pydantic names the discriminator only in its message when the tag is absent or unknown.
    tag = leaf if kind == "literal_error" else "type" if "'type'" in message else "action"
    if kind == "union_tag_not_found":
        return Reason.MISSING_FIELD
    return {"type": Reason.UNKNOWN_TYPE, "action": Reason.UNKNOWN_ACTION}.get(
        tag, Reason.OUT_OF_RANGE
    )


def check_event(event: Event, *, now: float) -> float:
    """Return the event time of *event* in Unix seconds, after the rules no schema can say.

    *now* is the wall clock in Unix seconds. Raises BadRecord when the event lies more than
    five minutes ahead of it, or when an identification names nobody.

    >>> import datetime
    >>> noon = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.timezone.utc)
    >>> check_event({"type": "ad", "time": noon}, now=1767268800.0)
    1767268800.0
    """
    time: float = event["time"].timestamp()
    if time < YEAR_ONE:  # its offset leads out of the calendar
        raise BadRecord(Reason.BAD_TIME, "field time: lies before the year 1 in UTC")
    if time > now + FUTURE_TOLERANCE_SECONDS:
        ahead = time - now
        raise BadRecord(Reason.IN_FUTURE, f"field time: {ahead:.0f} s ahead of the wall clock")
    if event["type"] == "identify" and not ("contact_id" in event or "email" in event):
        raise BadRecord(Reason.MISSING_FIELD, "an identify event needs contact_id or email")
    return time
