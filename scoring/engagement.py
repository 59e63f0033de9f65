"""Engagement: minutes spent with us, weighted by page, person and age.

Points of an event = base points x page value, capped per account, channel and UTC day.
Mass M(now) = sum of seniority x added x 2^(-age/half-life); score = 100 (1 - 2^(-M/K)).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from scoring.account import AccountState, Contact, DaySeries, add_on_day
from scoring.decay import saturated, weight
from scoring.events import Event
from scoring.model import SECONDS_PER_DAY, DailyCaps, Points, ScoringModel

PointsOf: TypeAlias = Callable[[Event, float], float]
"""Takes an event and the value of the page that it visits, 1 where it visits none."""

SECONDS_PER_MINUTE: Final = 60.0


def points_by_type(model: ScoringModel) -> dict[str, PointsOf]:
    """Return, per engagement type, the function from event to points (minutes, before caps)."""
    points = model.engagement.points
    return {
        "ad": _by_action({"impression": points.ad_impression, "click": points.ad_click}),
        "page_visit": _visit_points(points),
        "chat": _chat_points(points),
        "email": _email_points(points),
        "meeting": _meeting_points(points),
        "intent": _intent_points(points),
    }


def caps_by_channel(caps: DailyCaps) -> dict[str, float]:
    """Return the daily cap in minutes per channel."""
    return dict(caps.model_dump())


def _by_action(table: Mapping[str, float]) -> PointsOf:
    return lambda event, _: table[event["action"]]


def _visit_points(points: Points) -> PointsOf:
    base, longest = points.page_visit, points.page_visit_max_dwell_seconds
    per_minute = points.page_visit_per_minute

    def of(event: Event, value: float) -> float:
        dwell: float = event.get("duration_seconds", 0.0)
        if dwell > longest:
            dwell = longest
        return (base + per_minute * dwell / SECONDS_PER_MINUTE) * value

    return of


def _intent_points(points: Points) -> PointsOf:
    per_strength = points.intent_per_strength

    def of(event: Event, _: float) -> float:
        strength: float = event.get("strength", 1.0)
        return per_strength * strength

    return of


def _chat_points(points: Points) -> PointsOf:
    message = {"inbound": points.chat_message_inbound, "outbound": points.chat_message_outbound}

    def of(event: Event, _: float) -> float:
        action = event["action"]
        if action == "message":
            return message[event["direction"]]
        if action == "started":
            return points.chat_started
        minutes: float = event.get("duration_seconds", 0.0) / SECONDS_PER_MINUTE
        return min(points.chat_ended_per_minute * minutes, points.chat_ended_max_minutes)

    return of


def _email_points(points: Points) -> PointsOf:
    exchange = {"inbound": points.email_inbound, "outbound": points.email_outbound}
    other = {
        "opened": points.email_opened,
        "clicked": points.email_clicked,
        "bounced": points.email_bounced,
        "unsubscribed": points.email_unsubscribed,
    }

    def of(event: Event, _: float) -> float:
        action = event["action"]
        if action in ("sent", "replied"):
            return exchange[event["direction"]]
        return other[action]

    return of


def _meeting_points(points: Points) -> PointsOf:
    other = {
        "booked": points.meeting_booked,
        "cancelled": points.meeting_cancelled,
        "no_show": points.meeting_no_show,
    }

    def of(event: Event, _: float) -> float:
        if event["action"] != "held":
            return other[event["action"]]
        minutes: float = event.get("duration_minutes", points.meeting_held_default_minutes)
        return points.meeting_held_per_minute * min(minutes, points.meeting_held_max_minutes)

    return of


def add_capped(
    caps: dict[int, DaySeries], channel: int, day: int, *, points: float, cap: float, keep: int
) -> float:
    """Book *points* on *day* and return the minutes that the daily cap leaves of them.

    min(cap, sum + points) - min(cap, sum); the booked sum never exceeds the cap, which
    gives the same difference.
    """
    # Every engagement event comes through here: `on_day` and `min` are written out.
    series = caps.get(channel)
    index = 0 if series is None else day - series[0] + 1
    before: float = series[index] if series is not None and 0 < index < len(series) else 0
    after = before + points
    if after > cap:
        after = cap
    if after <= before:
        return after - before
    # Whole numbers as integers: they are stored in one byte instead of nine.
    sum_ = int(after) if after.is_integer() else after
    if series is None:
        caps[channel] = [day, sum_]
    elif before:
        series[index] = sum_  # the sum itself, free of rounding
    else:
        add_on_day(series, day, sum_, keep_days=keep)
    return after - before


def seniority_weight(contact: Contact, weights: Mapping[int | None, float]) -> float:
    """Return the factor on a contact's minutes; its newest upserted record decides."""
    return weights[contact.seniority]


def weighted_parts(
    state: AccountState, weights: Mapping[int | None, float]
) -> Iterator[tuple[str | None, int, float]]:
    """Yield (contact id, channel code, weighted mass at the landmark) of every part.

    The unknown part and the frozen part of forgotten contacts have no contact id.
    """
    for contact_id, contact in state.contacts.items():
        factor = seniority_weight(contact, weights)
        for channel, mass in contact.minutes.items():
            yield contact_id, channel, factor * mass
    unknown = weights[None]
    for channel, mass in state.unknown.items():
        yield None, channel, unknown * mass
    for channel, mass in state.frozen.items():
        yield None, channel, mass


def mass_at_landmark(state: AccountState, weights: Mapping[int | None, float]) -> float:
    """Return the weighted mass of *state* at its landmark, in minutes: the sum of its parts."""
    # Written out rather than over weighted_parts: it runs for every account of every commit.
    mass = sum(state.frozen.values()) + weights[None] * sum(state.unknown.values())
    for contact in state.contacts.values():
        mass += weights[contact.seniority] * sum(contact.minutes.values())
    return mass


def minutes_at(
    state: AccountState, now: float, *, weights: Mapping[int | None, float], half_life_days: float
) -> float:
    """Return M(now) in engagement minutes; *now* in Unix seconds."""
    if state.landmark is None:
        return 0.0
    factor = weight(
        elapsed_seconds=now - state.landmark, half_life_seconds=half_life_days * SECONDS_PER_DAY
    )
    return mass_at_landmark(state, weights) * factor


def engagement_score(minutes: float, *, saturation_minutes: float) -> float:
    """Return the score from 0 to 100 of *minutes* decayed engagement minutes.

    >>> engagement_score(30.0, saturation_minutes=30.0)
    50.0
    """
    return 100.0 * saturated(minutes, half_saturation=saturation_minutes)
