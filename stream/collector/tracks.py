"""Names of `track` calls that say something of our contract, and what of them says it.

Emails and live chats are named by Segment's spec, ads as in Snowplow too; meetings, replies and
intent signals have no name there, and get one here. "Sent" in a chat is what the customer sent.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from scoring.events import MAX_ATTENDEES
from stream.collector.reading import given_id, given_number, given_text

Part = Mapping[str, Any]
Fields = Callable[[Part, Part], dict[str, Any]]
"""Takes properties and context."""


class Track(NamedTuple):
    """One name."""

    type: str
    fixed: Mapping[str, str]
    fields: Fields


def _campaign(properties: Part, context: Part) -> str | None:
    campaign = context.get("campaign")
    named = campaign.get("name") if isinstance(campaign, Mapping) else None
    given = (properties.get(each) for each in ("campaign_id", "campaignId", "campaign_name"))
    return next(filter(None, map(given_id, (*given, named))), None)


def _email(properties: Part, context: Part) -> dict[str, Any]:
    subject = properties.get("email_subject") or properties.get("subject")
    return {
        "campaign_id": _campaign(properties, context),
        "subject": given_text(subject),
        "rep_id": given_id(properties.get("rep_id")),
    }


def _chat(properties: Part, _: Part) -> dict[str, Any]:
    return {
        "conversation_id": given_id(properties.get("conversation_id")),
        "duration_seconds": given_number(properties.get("conversation_duration")),
    }


def _ad(properties: Part, context: Part) -> dict[str, Any]:
    in_email = properties.get("placement") == "email_signature"
    return {
        "campaign_id": _campaign(properties, context),
        "placement": "email_signature" if in_email else "web",
        "cost": given_number(properties.get("cost")),
    }


def _meeting(properties: Part, _: Part) -> dict[str, Any]:
    given = properties.get("attendee_ids")
    people = map(given_id, given) if isinstance(given, list) else ()
    attendees = list(dict.fromkeys(filter(None, people)))
    return {
        "meeting_id": given_id(properties.get("meeting_id")),
        "duration_minutes": given_number(properties.get("duration_minutes")),
        "attendee_ids": attendees[:MAX_ATTENDEES] or None,
        "rep_id": given_id(properties.get("rep_id")),
    }


def _intent(properties: Part, _: Part) -> dict[str, Any]:
    return {
        "topic": given_text(properties.get("topic")),
        "strength": given_number(properties.get("strength")),
    }


def _email_track(action: str, direction: str = "outbound") -> Track:
    return Track("email", {"action": action, "direction": direction}, _email)


def _chat_track(action: str, direction: str) -> Track:
    return Track("chat", {"action": action, "direction": direction}, _chat)


def _meeting_track(action: str) -> Track:
    return Track("meeting", {"action": action}, _meeting)


_IMPRESSION: Final = Track("ad", {"action": "impression"}, _ad)
_CLICK: Final = Track("ad", {"action": "click"}, _ad)

TRACKS: Final[Mapping[str, Track]] = {
    # What was delivered was sent; both names of one email would count it twice.
    "email delivered": _email_track("sent"),
    "email opened": _email_track("opened"),
    "email link clicked": _email_track("clicked"),
    "email bounced": _email_track("bounced"),
    "email marked as spam": _email_track("unsubscribed"),
    "unsubscribed": _email_track("unsubscribed"),
    "email replied": _email_track("replied", "inbound"),
    "live chat conversation started": _chat_track("started", "inbound"),
    "live chat message sent": _chat_track("message", "inbound"),
    "live chat message received": _chat_track("message", "outbound"),
    "live chat conversation ended": _chat_track("ended", "inbound"),
    "ad impression": _IMPRESSION,
    "ad_impression": _IMPRESSION,
    "ad clicked": _CLICK,
    "ad_click": _CLICK,
    "meeting booked": _meeting_track("booked"),
    "meeting held": _meeting_track("held"),
    "meeting cancelled": _meeting_track("cancelled"),
    "meeting no show": _meeting_track("no_show"),
    "intent signal": Track("intent", {}, _intent),
}
"""Case-folded name -> what it says."""
