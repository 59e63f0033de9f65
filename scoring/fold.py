"""The fold: one validated event applied to one account.

The account is changed in place, for speed; apart from that these are pure functions: same
account, same events in the same order, same result, however the events were batched.
Transitions are evaluated event by event at the account's instant, the later of its newest
event time and its last due instant, which never goes back.
"""

from enum import StrEnum
from math import exp2

from scoring.account import AccountRecord, AccountState, Contact, Touch, utc_day
from scoring.decay import MAX_HALF_LIVES
from scoring.dedupe import Check, SeenIds
from scoring.engagement import add_capped
from scoring.events import ENGAGEMENT_TYPES, Event
from scoring.funnel import apply_opportunity
from scoring.pages import ANY_TOPIC
from scoring.relationship import exchange_of, weakest_contact
from scoring.rules import Rules
from scoring.transitions import (
    Counted,
    Live,
    advance,
    count_topics,
    decide_engaged,
    decide_stage,
    reweigh,
)

TOUCHES_KEPT = 5
LABEL_LENGTH = 64
_DETAILS = (
    "name",
    "domains",
    "owner_email",
    "industry",
    "employees",
    "parent_account_id",
    "icp_fit",
)
_EXCHANGES = frozenset({"chat", "email", "meeting"})


class Outcome(StrEnum):
    """What became of a record; the last three are decided outside the fold."""

    # Counted once a record: hashing a member of an enumeration is slow, its text is not.
    __hash__ = str.__hash__

    SCORED = "scored"
    DUPLICATE = "duplicate"
    UNCHECKED = "unchecked"
    TOO_LATE = "too_late"
    REKEYED = "rekeyed"
    UNRESOLVED = "unresolved"
    DEAD = "dead"


class Account:
    """One account in memory: what is stored of it, and what follows from that.

    Attributes:
        state: what is stored.
        seen: the event ids seen, stored beside the state.
        live: derived windows, and the transitions announced until the shell takes them.
    """

    __slots__ = ("live", "seen", "state")

    def __init__(self, state: AccountState, seen: SeenIds | None = None) -> None:
        self.state = state
        self.seen = SeenIds() if seen is None else seen
        self.live = Live()


def seen_key(
    state: AccountState, event: Event, time: float, rules: Rules
) -> tuple[int, int] | None:
    """Return the (type code, day) under which *event* is looked up, None when it is not.

    Ids are looked up for the day of the newest event of the type, this one included, and
    the days before it that the model sets.
    """
    code = rules.codes[event["type"]]
    newest = state.newest.get(code)
    day = utc_day(time)
    if newest is not None and day < utc_day(newest) - rules.days_before:
        return None
    return code, day


def fold(account: Account, event: Event, time: float, rules: Rules) -> Outcome:
    """Apply *event* of event time *time* (Unix seconds) to *account*; say what became of it.

    Transitions that it causes, and those due before it, are appended to
    ``account.live.announced``.
    """
    state = account.state
    type_ = event["type"]
    code = rules.codes[type_]
    newest = state.newest.get(code)
    outcome = _identity(account.seen, event, (code, utc_day(time)), newest, rules)
    if outcome is Outcome.DUPLICATE:
        return outcome
    if newest is None or time > newest:
        state.newest[code] = newest = time
    if state.instant is None:
        state.instant = time
    elif time > state.instant:
        advance(state, account.live, time, rules)
    if type_ not in ENGAGEMENT_TYPES:
        _apply_record(account, event, time, rules)
        return outcome
    state.events += 1
    if state.first_event_at is None or time < state.first_event_at:
        state.first_event_at = time
    if state.last_event_at is None or time > state.last_event_at:
        state.last_event_at = time
    if newest - time > rules.horizon_seconds:
        return Outcome.TOO_LATE
    _apply_engagement(account, event, time, rules)
    return outcome


def _identity(
    seen: SeenIds, event: Event, key: tuple[int, int], newest: float | None, rules: Rules
) -> Outcome:
    """Look *event* up under *key* (see seen_key), *newest* being the newest time of its type."""
    if newest is None:
        newest_day = key[1]
    else:
        newest_day = utc_day(newest)
        if key[1] < newest_day - rules.days_before:
            return Outcome.UNCHECKED
    check = seen.check(key, event, limit=rules.ids_per_day)
    if check is Check.REPEAT:
        return Outcome.DUPLICATE
    if key[1] > newest_day:
        seen.move_window(key[0], old_day=newest_day, new_day=key[1], days_before=rules.days_before)
    return Outcome.SCORED if check is Check.NEW else Outcome.UNCHECKED


def _apply_engagement(account: Account, event: Event, time: float, rules: Rules) -> None:
    state, type_ = account.state, event["type"]
    known = len(state.contacts)
    points = rules.points[type_](event)
    if points > 0.0:
        _add_minutes(state, event, time, points=points, rules=rules)
    if type_ in _EXCHANGES:
        _add_exchange(state, event, time, rules)
    elif (counted := _counted(event, time, rules)) is not None:
        count_topics(state, account.live, rules, counted=counted, cause=event)
    if len(state.contacts) > known:
        _bound_contacts(state, rules)
    decide_engaged(state, account.live, rules, event)


def _counted(event: Event, time: float, rules: Rules) -> Counted | None:
    if event["type"] == "page_visit":
        topics = rules.read_page(event["url"]).topics
        return Counted(topics, utc_day(time), 1) if topics else None
    if event["type"] == "intent":
        topic = event["topic"]
        topics = (ANY_TOPIC,) if topic == ANY_TOPIC else tuple(sorted((ANY_TOPIC, topic)))
        return Counted(topics, utc_day(time), max(1, round(event.get("strength", 1.0))))
    return None


def _add_minutes(
    state: AccountState, event: Event, time: float, *, points: float, rules: Rules
) -> None:
    type_ = event["type"]
    code = rules.codes[type_]
    added = add_capped(
        state.caps, code, utc_day(time), points=points, cap=rules.caps[type_], keep=rules.cap_days
    )
    if added <= 0.0:
        return
    mass = added * exp2((time - _landmark(state, time, rules)) / rules.half_life_seconds)
    contact_id = event.get("contact_id")
    if contact_id is None:
        part, factor = state.unknown, rules.weights[None]
    else:
        contact = _contact(state, contact_id)
        part, factor = contact.minutes, rules.weights[contact.seniority]
    part[code] = part.get(code, 0.0) + mass
    assert state.instant is not None
    late = state.instant - time
    state.minutes += factor * (
        added if late == 0.0 else added * exp2(-late / rules.half_life_seconds)
    )
    touches = state.touches
    if len(touches) < TOUCHES_KEPT or mass > touches[-1].mass:
        _keep_touch(touches, Touch(mass, time, code, contact_id, _label(event)))


def _add_exchange(state: AccountState, event: Event, time: float, rules: Rules) -> None:
    exchange = exchange_of(event, rules.model.relationship)
    if exchange is None:
        return
    landmark = _landmark(state, time, rules)
    factor = exp2((time - landmark) / rules.exchange_half_life_seconds)
    for contact_id in exchange.contacts:
        contact = _contact(state, contact_id)
        contact.inbound += exchange.inbound * factor
        contact.outbound += exchange.outbound * factor


def _landmark(state: AccountState, time: float, rules: Rules) -> float:
    """Return the landmark, set at the first mass and moved before doubles overflow."""
    if state.landmark is None:
        state.landmark = time
    shortest = min(rules.half_life_seconds, rules.exchange_half_life_seconds)
    if time - state.landmark > MAX_HALF_LIVES * shortest:
        _move_landmark(state, time, rules)
    return state.landmark


def _move_landmark(state: AccountState, to: float, rules: Rules) -> None:
    assert state.landmark is not None
    minutes = exp2((state.landmark - to) / rules.half_life_seconds)
    exchanged = exp2((state.landmark - to) / rules.exchange_half_life_seconds)
    for part in (state.unknown, state.frozen, *(c.minutes for c in state.contacts.values())):
        for code in part:
            part[code] *= minutes
    for contact in state.contacts.values():
        contact.inbound *= exchanged
        contact.outbound *= exchanged
    for touch in state.touches:
        touch.mass *= minutes
    state.landmark = to


def _contact(state: AccountState, contact_id: str) -> Contact:
    contact = state.contacts.get(contact_id)
    if contact is None:
        contact = state.contacts[contact_id] = Contact()
    return contact


def _bound_contacts(state: AccountState, rules: Rules) -> None:
    """Forget the weakest contacts beyond the limit; their minutes freeze as weighted now."""
    model = rules.model.relationship
    while len(state.contacts) > model.max_contacts:
        assert state.instant is not None
        weakest = weakest_contact(state, state.instant, weights=rules.weights, model=model)
        contact = state.contacts.pop(weakest)
        factor = rules.weights[contact.seniority]
        for code, mass in contact.minutes.items():
            state.frozen[code] = state.frozen.get(code, 0.0) + factor * mass


def _keep_touch(touches: list[Touch], touch: Touch) -> None:
    touches.append(touch)
    touches.sort(key=lambda kept: -kept.mass)  # stable: of equals the earlier stays first
    del touches[TOUCHES_KEPT:]


def _label(event: Event) -> str:
    text = event.get("url") or event.get("topic") or event.get("action") or ""
    return str(text)[:LABEL_LENGTH]


def _apply_record(account: Account, event: Event, time: float, rules: Rules) -> None:
    state, type_ = account.state, event["type"]
    if type_ == "account":
        if state.record is None or time >= state.record.recorded_at:
            state.record = _account_record(event, time)
    elif type_ == "contact":
        _apply_contact(state, event, time)
        _bound_contacts(state, rules)
        reweigh(state, rules)
        decide_engaged(state, account.live, rules, event)
    elif type_ == "opportunity":
        apply_opportunity(state, event, time)
    else:
        return
    decide_stage(state, account.live, event)


def _account_record(event: Event, time: float) -> AccountRecord:
    if event["action"] == "removed":
        return AccountRecord(time)
    return AccountRecord(
        time,
        target=event["target"],
        tier=event.get("tier"),
        owner_id=event.get("owner_id"),
        details={field: event[field] for field in _DETAILS if field in event},
    )


def _apply_contact(state: AccountState, event: Event, time: float) -> None:
    """Note a contact record: the newest by event time counts, of equal times the later."""
    contact = _contact(state, event["contact_id"])
    known = [at for at in (contact.recorded_at, contact.removed_at) if at is not None]
    if all(time >= at for at in known):
        contact.removed = event["action"] == "removed"
    if event["action"] == "removed":
        contact.removed_at = time if contact.removed_at is None else max(time, contact.removed_at)
    elif contact.recorded_at is None or time >= contact.recorded_at:
        contact.recorded_at = time
        contact.seniority = event.get("seniority")
