"""Hypothesis strategies: streams of valid events of one account."""

import datetime as dt
import zlib
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

START = 1_200_000_000
"""Unix seconds around which streams lie: in the past of every clock that runs these tests."""

CONTACTS = ("ann", "bob", "cy", "dee")
URLS = (
    "https://x.example/",
    "https://x.example/pricing",
    "https://x.example/Product/tour.html",
    "https://x.example/docs/api",
    "https://x.example/compare/us-vs-them",
    "https://x.example/pricing/alternatives",
    "https://x.example/careers",
    "https://x.example/trust-center?x=/pricing",
)
_contact = st.sampled_from([*CONTACTS, None])
_direction = st.sampled_from(["inbound", "outbound"])


def rfc3339(time: float) -> str:
    return dt.datetime.fromtimestamp(time, dt.UTC).isoformat()


def _maybe(fields: Json) -> Json:
    return {key: value for key, value in fields.items() if value is not None}


@st.composite
def bodies(draw: st.DrawFn, types: tuple[str, ...]) -> Json:
    """Draw the fields of one event beyond id, source, time and account."""
    type_ = draw(st.sampled_from(types))
    contact = draw(_contact)
    seconds = st.floats(0, 2_000)
    body: Json
    if type_ == "ad":
        body = {
            "action": draw(st.sampled_from(["impression", "click"])),
            "campaign_id": "c",
            "placement": "web",
        }
    elif type_ == "page_visit":
        body = {"url": draw(st.sampled_from(URLS)), "duration_seconds": draw(st.none() | seconds)}
    elif type_ == "chat":
        body = {
            "action": draw(st.sampled_from(["started", "message", "ended"])),
            "conversation_id": "v",
            "direction": draw(_direction),
            "duration_seconds": draw(st.none() | seconds),
        }
    elif type_ == "email":
        actions = ["sent", "opened", "clicked", "replied", "bounced", "unsubscribed"]
        body = {"action": draw(st.sampled_from(actions)), "direction": draw(_direction)}
    elif type_ == "meeting":
        people = draw(st.none() | st.lists(st.sampled_from(CONTACTS), unique=True))
        body = {
            "action": draw(st.sampled_from(["booked", "held", "cancelled", "no_show"])),
            "meeting_id": "m",
            "duration_minutes": draw(st.none() | st.floats(0, 200)),
            "attendee_ids": people,
        }
    elif type_ == "intent":
        body = {
            "topic": draw(st.sampled_from(["pricing", "crm", "*"])),
            "strength": draw(st.none() | st.floats(0, 8)),
        }
    elif type_ == "account":
        body = draw(
            st.sampled_from(
                [
                    {"action": "upserted", "target": True, "tier": 1, "owner_id": "o"},
                    {"action": "upserted", "target": True},
                    {"action": "upserted", "target": False, "tier": 2},
                    {"action": "removed"},
                ]
            )
        )
    elif type_ == "contact":
        seniority = st.sampled_from(["c_level", "vp", "director", "manager", "other", None])
        contact = draw(st.sampled_from(CONTACTS))
        body = draw(
            st.sampled_from(["upserted", "upserted", "removed"]).flatmap(
                lambda action: st.fixed_dictionaries(
                    {"action": st.just(action)}
                    | ({"seniority": seniority} if action == "upserted" else {})
                )
            )
        )
    elif type_ == "opportunity":
        actions = ["opened", "updated", "won", "lost", "churned"]
        body = {
            "action": draw(st.sampled_from(actions)),
            "opportunity_id": draw(st.sampled_from(["o1", "o2", "o3"])),
            "kind": draw(st.sampled_from(["new", "renewal", "expansion"])),
        }
    else:
        body = {"kind": "nps", "score": 9}
    return _maybe({"type": type_, "contact_id": contact, **body})


ALL_TYPES = (
    "ad",
    "page_visit",
    "chat",
    "email",
    "meeting",
    "intent",
    "account",
    "contact",
    "opportunity",
    "survey",
)


@st.composite
def streams(
    draw: st.DrawFn,
    *,
    types: tuple[str, ...] = ALL_TYPES,
    max_size: int = 60,
    days: float = 150.0,
) -> list[Json]:
    """Draw events of one account in arrival order: mostly forward, some late, some repeated."""
    span = days * 86_400
    # Left to itself, a list rarely gets beyond ten; a least size of its own shrinks to 0 first.
    least = draw(st.sampled_from([0, 5, 15, 30]))
    steps = draw(
        st.lists(
            st.tuples(
                st.one_of(st.floats(0, span / max_size), st.floats(0, span / 4), st.just(0.0)),
                st.one_of(st.just(0.0), st.just(0.0), st.floats(0, 50 * 86_400)),
                bodies(types),
                st.integers(0, 9),
            ),
            min_size=min(least, max_size),
            max_size=max_size,
        )
    )
    events: list[Json] = []
    clock = float(START)
    for number, (forward, late, body, repeat) in enumerate(steps):
        clock += forward
        if repeat == 0 and events:
            events.append(events[-1 - number % min(len(events), 7)])
            continue
        time = round(clock - late, 3)
        events.append(
            {
                "id": f"e{number}",
                "source": "test",
                "time": rfc3339(time),
                "account_id": "acme",
                **body,
            }
        )
    return events


@st.composite
def interleaved(draw: st.DrawFn, events: list[Json]) -> list[Json]:
    """Draw another interleaving of *events* in which each type keeps its own order."""
    queues: dict[str, list[Json]] = {}
    for event in events:
        queues.setdefault(event["type"], []).append(event)
    # A permutation of the types' names, one per event, says whose turn it is.
    turns = draw(st.permutations([event["type"] for event in events]))
    fronts = {type_: iter(queue) for type_, queue in queues.items()}
    return [next(fronts[type_]) for type_ in turns]


DAY_0 = 1_199_145_600
"""A UTC midnight, 1 January 2008, from which tests with fixed events count days."""


def event(type_: str, day: float, **fields: Any) -> Json:
    """Return one event *day* days after DAY_0; equal arguments make repeats of one event."""
    own = f"{type_} {day} {sorted(fields.items())}"
    return {
        "id": f"{zlib.crc32(own.encode()):x}",
        "source": "test",
        "type": type_,
        "time": rfc3339(DAY_0 + day * 86_400),
        "account_id": "acme",
        **fields,
    }
