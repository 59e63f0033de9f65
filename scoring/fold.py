"""The fold: one validated event applied to one account.

The account is changed in place, for speed; apart from that these are pure functions: same
account, same events in the same order, same result, however the events were batched.
Transitions are evaluated event by event at the account's instant, the later of its newest
event time and its last due instant, which never goes back.
"""

from enum import StrEnum
from math import exp2

from scoring.account import (
    SENIORITY_CODES,
    AccountRecord,
    AccountState,
    Contact,
    Ledger,
    Touch,
    utc_day,
)
from scoring.alerts import look_for_cooling, page_visited, scored, tell, without
from scoring.counting import counted_of
from scoring.dedupe import ATTRIBUTED, NEW, REPEAT, SeenIds
from scoring.engagement import add_capped
from scoring.erasing import erase, freeze, unveil, veiled
from scoring.events import Event
from scoring.funnel import apply_opportunity
from scoring.gifts import departure, merge_away, move_away
from scoring.live import Errand, Live
from scoring.model import SECONDS_PER_DAY
from scoring.noise import Noise
from scoring.relationship import exchange_of, weakest_contact
from scoring.rules import Kind, Rules
from scoring.scores import scores_at
from scoring.transitions import advance, count_topics, decide_engaged, decide_stage, reweigh

BIGGEST_TOUCHES = 5
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


class Outcome(StrEnum):
    """What became of a record; the last three are decided outside the fold.

    A record that has *moved* belongs to the account that its own was merged into.
    """

    # Counted once a record: hashing a member of an enumeration is slow, its text is not.
    __hash__ = str.__hash__

    SCORED = "scored"
    DUPLICATE = "duplicate"
    UNCHECKED = "unchecked"
    TOO_LATE = "too_late"
    MOVED = "moved"
    REKEYED = "rekeyed"
    UNRESOLVED = "unresolved"
    DEAD = "dead"


# Looking a member up in its enumeration takes ten times as long as a name of the module.
_SCORED = Outcome.SCORED
_DUPLICATE = Outcome.DUPLICATE
_UNCHECKED = Outcome.UNCHECKED


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


def fold(  # noqa: C901  # every event comes through here: a call more for each costs more
    account: Account, event: Event, time: float, rules: Rules, *, by_ledger: bool = True
) -> Outcome | Noise:
    """Apply *event* of event time *time* (Unix seconds) to *account*; say what became of it.

    Transitions that it causes, and those due before it, are appended to
    ``account.live.announced``. Few accounts have a ledger, which is looked at unless *by_ledger*
    is false.
    """
    state = account.state
    if state.ledger is not None and by_ledger:
        return _fold_by_ledger(account, state.ledger, event, time, rules)
    kind = rules.kinds[event["type"]]
    code = kind.code
    newest = state.newest.get(code)
    day = int(time // SECONDS_PER_DAY)
    outcome = _identity(account.seen, event, (code, day), newest, rules)
    if outcome is _DUPLICATE:
        return outcome
    if newest is None or time > newest:
        state.newest[code] = newest = time
    if state.instant is None:
        state.instant = time
    elif time > state.instant:
        advance(state, account.live, time, rules)
    if not kind.engages:
        account.live.facts.append((event, time, None, 0.0))
        _apply_record(account, event, time, rules)
        return outcome
    state.events += 1
    if state.first_event_at is None or time < state.first_event_at:
        state.first_event_at = time
    if state.last_event_at is None or time > state.last_event_at:
        state.last_event_at = time
    if newest - time > rules.horizon_seconds:
        account.live.facts.append((event, time, 0.0, -1.0))
        return Outcome.TOO_LATE
    noise = None if kind.label is None else kind.label(event, time, state)
    if noise is None:
        _apply_engagement(account, event, time, day, kind, rules)
        return outcome
    state.noise[noise] = state.noise.get(noise, 0) + 1
    return noise


def _fold_by_ledger(
    account: Account, ledger: Ledger, event: Event, time: float, rules: Rules
) -> Outcome | Noise:
    """Apply *event* to an account that was merged into another, or in which people were erased."""
    state, live = account.state, account.live
    if ledger.merged_into is not None and event["type"] != "account":
        if _seen_before(account, event, time, rules):
            return Outcome.DUPLICATE
        if event.get("erase"):
            erase(state, live, event, time, rules.weights)  # what it has given, too
        moved = {**event, "account_id": ledger.merged_into}
        live.errands.append(Errand(ledger.merged_into, event=moved))
        return Outcome.MOVED
    veil = veiled(ledger, event, time) if ledger.erased else None
    if veil is None:
        return fold(account, event, time, rules, by_ledger=False)
    state.contacts.update(veil.contacts)
    outcome = fold(account, veil.event, time, rules, by_ledger=False)
    unveil(state, live, veil.contacts, rules.weights)
    return outcome


def _seen_before(account: Account, event: Event, time: float, rules: Rules) -> bool:
    """Tell whether *event* came before the account was merged into another, where that is known."""
    keys = [seen_key(account.state, event, time, rules)]
    if "resolution" in event:
        keys.append((rules.codes[event["type"]], utc_day(time) + ATTRIBUTED))
    return any(key is not None and account.seen.knows(key, event) for key in keys)


def _identity(
    seen: SeenIds, event: Event, key: tuple[int, int], newest: float | None, rules: Rules
) -> Outcome:
    """Look *event* up under *key* (see seen_key), *newest* being the newest time of its type."""
    code, day = key
    if "resolution" in event:  # it may come again long after the window of its type has passed
        check = seen.check((code, day + ATTRIBUTED), event, limit=rules.ids_per_day)
        if check is REPEAT:
            return _DUPLICATE
    newest_day = day if newest is None else int(newest // SECONDS_PER_DAY)
    if day < newest_day - rules.days_before:
        return _UNCHECKED
    check = seen.check(key, event, limit=rules.ids_per_day)
    if check is REPEAT:
        return _DUPLICATE
    if day > newest_day:
        seen.move_window(code, old_day=newest_day, new_day=day, days_before=rules.days_before)
    return _SCORED if check is NEW else _UNCHECKED


def _apply_engagement(
    account: Account, event: Event, time: float, day: int, kind: Kind, rules: Rules
) -> None:
    """Add what *event* of the UTC *day* gives."""
    state, live = account.state, account.live
    known, minutes = len(state.contacts), state.minutes
    page = rules.read_page(event["url"]) if kind.visits else None
    assert kind.points is not None
    points, added = kind.points(event, 1.0 if page is None else page.value), 0.0
    if points > 0.0:
        left = add_capped(
            state.caps, kind.code, day, points=points, cap=kind.cap, keep=rules.cap_days
        )
        if left > 0.0:
            added = left
            _add_minutes(state, event, time, added, kind.code, rules)
    counted = None
    if kind.exchanges:
        live.closeness = None
        _add_exchange(state, event, time, rules)
    elif (counted := counted_of(event, day, page)) is not None:
        count_topics(state, live, rules, counted=counted, cause=event)
    if len(state.contacts) > known:
        bound_contacts(state, live, rules)
    decide_engaged(state, live, rules, event)
    if page is not None and page.kind == "high":
        page_visited(state, live, rules, event=event, page=page, time=time)
    if state.opportunities:
        look_for_cooling(state, live, rules)
    if live.raised:
        before = without((state, live), event, rules, time=time, minutes=minutes, counted=counted)
        tell(state, live, rules, before=before, cause=event, time=time)
    live.facts.append((event, time, points, added))


def _add_minutes(
    state: AccountState, event: Event, time: float, added: float, code: int, rules: Rules
) -> None:
    """Add the minutes that the daily cap has left, of a type's *code*."""
    half_life = rules.half_life_seconds
    mass = added * exp2((time - _landmark(state, time, rules)) / half_life)
    contact_id = event.get("contact_id")
    if contact_id is None:
        part, factor = state.unknown, rules.weights[None]
    else:
        contact = state.contacts.get(contact_id) or _contact(state, contact_id)
        part, factor = contact.minutes, rules.weights[contact.seniority]
    part[code] = part.get(code, 0.0) + mass
    assert state.instant is not None
    late = state.instant - time
    state.minutes += factor * (added if late == 0.0 else added * exp2(-late / half_life))
    touches = state.touches
    if len(touches) < BIGGEST_TOUCHES or mass > touches[-1].mass:
        keep_touch(touches, Touch(mass, time, code, contact_id, _label(event)))


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
    landmark = state.landmark
    if landmark is None:
        state.landmark = landmark = time
    elif time - landmark > rules.landmark_seconds:
        move_landmark(state, time, rules)
        return time
    return landmark


def move_landmark(state: AccountState, to: float, rules: Rules) -> None:
    """Express all masses of *state* at another landmark."""
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


def bound_contacts(state: AccountState, live: Live, rules: Rules) -> None:
    """Forget the weakest contacts beyond the limit; their minutes freeze as weighted now."""
    model = rules.model.relationship
    while len(state.contacts) > model.max_contacts:
        assert state.instant is not None
        live.closeness = None
        weakest = weakest_contact(state, state.instant, weights=rules.weights, model=model)
        freeze(state, state.contacts.pop(weakest), rules.weights)


def keep_touch(touches: list[Touch], touch: Touch) -> None:
    """Add *touch* to *touches* if it is among the biggest."""
    at = len(touches)
    while at and touch.mass > touches[at - 1].mass:  # of equals the earlier stays first
        at -= 1
    touches.insert(at, touch)
    del touches[BIGGEST_TOUCHES:]


def _label(event: Event) -> str:
    text = event.get("url") or event.get("topic") or event.get("action") or ""
    return str(text)[:LABEL_LENGTH]


def _apply_record(account: Account, event: Event, time: float, rules: Rules) -> None:
    state, live, type_ = account.state, account.live, event["type"]
    assert state.instant is not None
    before, merges = None, False
    if type_ == "account":
        if state.record is None or time >= state.record.recorded_at:
            state.record = _account_record(event, time)
            merges = "merged_into" in event
            if state.ledger is not None:
                state.ledger.merged_into = None
    elif type_ == "contact":
        before = scored(scores_at(state, state.instant, rules, live))
        live.closeness = None
        _apply_contact(state, live, event, time, rules)
        bound_contacts(state, live, rules)
        reweigh(state, rules)
        decide_engaged(state, live, rules, event)
    elif type_ == "opportunity":
        apply_opportunity(state, event, time)
    else:
        return
    decide_stage(state, live, rules, event)
    if state.opportunities:
        look_for_cooling(state, live, rules)
    if live.raised:  # only records of contacts change scores
        tell(state, live, rules, before=lambda after, _: before or after, cause=event, time=time)
    if merges:
        merge_away(state, live, event, time)


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


def _apply_contact(
    state: AccountState, live: Live, event: Event, time: float, rules: Rules
) -> None:
    """Note a contact record: the newest by event time counts, of equal times the later."""
    if event.get("erase"):
        erase(state, live, event, time, rules.weights)
        return
    contact = _contact(state, event["contact_id"])
    known = [at for at in (contact.recorded_at, contact.removed_at) if at is not None]
    if all(time >= at for at in known):
        contact.removed = event["action"] == "removed"
    if event["action"] == "removed":
        contact.removed_at = time if contact.removed_at is None else max(time, contact.removed_at)
    elif contact.recorded_at is None or time >= contact.recorded_at:
        contact.recorded_at = time
        contact.seniority = SENIORITY_CODES.get(event.get("seniority", ""))
    if "moved_to" in event:
        move_away(state, live, event, time, rules)
    elif event.get("moved_from", state.account_id) != state.account_id:
        former = event["moved_from"]
        live.errands.append(
            departure(event["contact_id"], former=former, to=state.account_id, time=time)
        )
