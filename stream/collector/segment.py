"""Segment's calls as events of our contract: pure functions.

Field names are those of Segment's spec (`messageId`, `userId`, `context.groupId`, ...). What is
optional in our contract and makes no sense in a call is left out; what is needed and missing, or
breaks a bound, makes the call a bad record. A contact is written only where a call says something
of the person's place, an account only where it says whether the account is a target: an upsert
replaces what the CRM wrote.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from scoring.account import SENIORITIES
from scoring.errors import BadRecord, Reason
from scoring.report import rfc3339
from stream.collector.reading import given_id, given_number, given_text, given_url
from stream.collector.tracks import TRACKS

Call = Mapping[str, Any]
Event = dict[str, Any]

CLOCKS_AGREE_SECONDS: Final = 10.0
"""A client's clock that is off by less is right: what is left is the way here. A call that is sent
again then keeps its time, by which repeats are recognised."""
HIDDEN_IP: Final = "0.0.0.0"  # noqa: S104  # Segment's word for an address that is not told
NOTHING: Mapping[str, Any] = {}


class Visitor(NamedTuple):
    """Who a browser's request came from."""

    ip: str | None
    user_agent: str | None


class Received(NamedTuple):
    """What is known of a call beside itself."""

    at: float
    """Unix seconds."""
    sent_at: float | None
    """By the sender's clock; None when it did not say."""
    source: str
    visitor: Visitor | None
    """None where a server calls: its own address and name are nobody's."""
    fresh_id: Callable[[], str]
    """Makes an id for a call without one."""


class Mapped(NamedTuple):
    """What a call says in our contract."""

    events: list[Event]
    note: str | None = None
    """Why there is nothing of it, or not all; no error."""


def mapped(call: Call, received: Received) -> Mapped:
    """Return the events of *call*, the first with its id. Raises BadRecord."""
    type_ = call.get("type")
    mapper = _MAPPERS.get(type_) if isinstance(type_, str) else None
    if mapper is None:
        if isinstance(type_, str) and type_ in _UNUSED:
            return Mapped([], f"{type_}: nothing that is scored follows from it")
        raise BadRecord(Reason.UNKNOWN_TYPE, f"field type: {str(type_)[:100]!r} is no call")
    return mapper(call, received)


def time_of(call: Call, received: Received) -> float:
    """Return when *call* happened, Unix seconds: received - (sent - original), as Segment does."""
    original = call.get("originalTimestamp") or call.get("timestamp")
    if original is None:
        return received.at
    happened = parsed_time(original)
    if received.sent_at is None or abs(received.at - received.sent_at) <= CLOCKS_AGREE_SECONDS:
        return happened
    return received.at - (received.sent_at - happened)


def parsed_time(text: object) -> float:
    """Return Unix seconds of an ISO 8601 time, in UTC where it names no offset.

    Raises BadRecord.
    """
    try:
        moment = dt.datetime.fromisoformat(str(text))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        shown = f"{str(text)[:60]!r}"
        raise BadRecord(Reason.BAD_TIME, f"field timestamp: {shown} is no time") from None


def _page(call: Call, received: Received) -> Mapped:
    properties, page = _part(call, "properties"), _part(_part(call, "context"), "page")
    url = given_url(properties.get("url")) or given_url(page.get("url"))
    if url is None:
        raise BadRecord(Reason.MISSING_FIELD, "a page needs properties.url or context.page.url")
    event = _common(call, received, "page_visit") | _seen_from(call, received)
    event["url"] = url
    event["referrer"] = given_url(properties.get("referrer")) or given_url(page.get("referrer"))
    event["duration_seconds"] = given_number(properties.get("duration_seconds"))
    event["session_id"] = given_id(properties.get("session_id"))
    return Mapped([_told(event)])


def _track(call: Call, received: Received) -> Mapped:
    name = given_text(call.get("event"))
    if name is None:
        raise BadRecord(Reason.MISSING_FIELD, "a track needs event, its name")
    if name.casefold() in ("page viewed", "viewed page"):
        return _page(call, received)
    track = TRACKS.get(name.casefold())
    if track is None:
        return Mapped([], f"event {name[:100]!r}: no score follows from it")
    properties, context = _part(call, "properties"), _part(call, "context")
    event = _common(call, received, track.type) | dict(track.fixed)
    event |= track.fields(properties, context)
    if track.type == "email":
        event["user_agent"] = _seen_from(call, received).get("user_agent")
    return Mapped([_told(event)])


def _identify(call: Call, received: Received) -> Mapped:
    event = _common(call, received, "identify")
    events = []
    if event["anonymous_id"] is not None and (event["contact_id"] or event["email"]):
        events.append(_told(event))
    contact = _contact(call, received)
    if contact is not None:
        events.append(contact | ({"id": f"{contact['id']}/contact"} if events else {}))
    if not events:
        return Mapped([], "identify: neither an anonymousId to tell whose it is, nor a title")
    return Mapped(events)


def _contact(call: Call, received: Received) -> Event | None:
    """Return the contact's record, None where *call* says nothing that it is kept for."""
    traits = _part(call, "traits")
    seniority, role = traits.get("seniority"), given_text(traits.get("title"))
    event = _common(call, received, "contact")
    told = seniority in SENIORITIES or role is not None
    if event["account_id"] is None or event["contact_id"] is None or not told:
        return None
    parts = [given_text(traits.get(each)) for each in ("firstName", "lastName")]
    name = given_text(traits.get("name")) or " ".join(filter(None, parts)) or None
    event |= {"action": "upserted", "name": name, "role": role}
    event["seniority"] = seniority if seniority in SENIORITIES else None
    return _told(event)


def _group(call: Call, received: Received) -> Mapped:
    account_id = given_id(call.get("groupId"))
    if account_id is None:
        raise BadRecord(Reason.MISSING_FIELD, "a group needs groupId, the account")
    traits, events = _part(call, "traits"), []
    account = _common(call, received, "account") | {"account_id": account_id}
    target, note = traits.get("target"), None
    if isinstance(target, bool):
        # The email is the person's, who is no part of the account's record.
        left_out = ("contact_id", "anonymous_id", "email")
        account |= {"action": "upserted", "target": target, **dict.fromkeys(left_out)}
        events.append(_told(account | _firm(traits)))
    else:
        note = "group: without the trait target (true or false) the account's record stays"
    person = _common(call, received, "identify") | {"account_id": account_id}
    if person["anonymous_id"] is not None and (person["contact_id"] or person["email"]):
        events.append(_told(person | ({"id": f"{person['id']}/identify"} if events else {})))
    return Mapped(events, note)


def _firm(traits: Call) -> Event:
    """Return what a group's *traits* say of an account."""
    tier = traits.get("tier")
    return {
        "name": given_text(traits.get("name")),
        "domains": _domains(traits),
        "tier": tier if type(tier) is int and 1 <= tier <= 3 else None,
        "owner_id": given_id(traits.get("owner_id")),
        "owner_email": given_text(traits.get("owner_email")),
        "industry": given_text(traits.get("industry")),
        "employees": given_number(traits.get("employees")),
        "parent_account_id": given_id(traits.get("parent_account_id")),
    }


def _domains(traits: Call) -> list[str] | None:
    given = traits.get("domains")
    if isinstance(given, list):
        return [text for each in given if (text := given_text(each)) is not None] or None
    website = given_text(traits.get("website"))
    if website is None:
        return None
    try:
        host = urlsplit(website if "//" in website else f"//{website}").hostname
    except ValueError:
        return None
    return [host.removeprefix("www.")] if host else None


def _common(call: Call, received: Received, type_: str) -> Event:
    """Return the fields of every event, None where *call* does not say."""
    context, properties = _part(call, "context"), _part(call, "properties")
    traits = _part(call, "traits") or _part(context, "traits")
    group = properties.get("account_id") or context.get("groupId") or properties.get("groupId")
    return {
        "id": given_id(call.get("messageId")) or received.fresh_id(),
        "source": received.source,
        "type": type_,
        "time": rfc3339(round(time_of(call, received), 3)),
        "account_id": given_id(group),
        "contact_id": given_id(call.get("userId")),
        "anonymous_id": given_id(call.get("anonymousId")),
        "email": given_text(traits.get("email")) or given_text(properties.get("email")),
    }


def _seen_from(call: Call, received: Received) -> Event:
    """Return with what and from where somebody looked, of a browser also where it does not say."""
    context, visitor = _part(call, "context"), received.visitor or Visitor(None, None)
    ip = given_text(context.get("ip")) or visitor.ip
    return {
        "user_agent": given_text(context.get("userAgent")) or given_text(visitor.user_agent),
        "ip": None if ip == HIDDEN_IP else ip,
    }


def _part(call: Call, name: str) -> Call:
    found = call.get(name)
    # Decoded JSON: asking for Mapping would cost a fifth of the whole.
    return found if isinstance(found, dict) else NOTHING


def _told(event: Event) -> Event:
    return {name: value for name, value in event.items() if value is not None}


_MAPPERS: Final[Mapping[str, Callable[[Call, Received], Mapped]]] = {
    "page": _page,
    "track": _track,
    "identify": _identify,
    "group": _group,
}
_UNUSED: Final = frozenset({"screen", "alias"})
"""Calls of Segment's that say nothing which is scored."""
