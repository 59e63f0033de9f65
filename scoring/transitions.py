"""Transitions: entering and leaving a stage, starting and ending a surge.

They are evaluated at the account's instant only: event by event, and at due instants, when
something changes although nothing happened. Due instants are the moment at which decayed
minutes fall below the engaged stage's lower bound, and UTC midnights while a surge window
holds a count or a topic surges.
"""

from math import exp2, log2
from typing import NamedTuple, TypeAlias

import msgspec
from xxhash import xxh3_128_hexdigest

from scoring.account import AccountState, utc_day
from scoring.engagement import minutes_at
from scoring.events import Event
from scoring.funnel import NO_STAGE, has_open_opportunity, is_customer, stage_of
from scoring.model import SECONDS_PER_DAY
from scoring.pages import ANY_TOPIC
from scoring.rules import Rules
from scoring.surge import Window, complete_weeks, count, forget_topics, window_of


class Transition(msgspec.Struct, frozen=True):
    """A change that is announced; ``id`` is the same however often it is computed."""

    id: str
    rule: str
    """``stage_changed``, ``surge_started`` or ``surge_ended``."""
    subject: str
    """The move (``target>engaged``) or the intent topic."""
    at: float
    """The instant at which it was evaluated, Unix seconds."""


class TopicWindow:
    """One topic's running counts at the instant's day, and the counts that decide."""

    __slots__ = ("baseline", "count", "end", "start")

    def __init__(self, x: int, baseline: int, start: int, end: int) -> None:
        self.count = x
        self.baseline = baseline
        self.start = start
        self.end = end


class Live:
    """What is known of one account beyond its stored state.

    Attributes:
        day, weeks, windows: the surge windows as of one day; derived, dropped freely.
        announced: transitions, until the shell takes them.
    """

    __slots__ = ("announced", "day", "weeks", "windows")

    def __init__(self) -> None:
        self.announced: list[Transition] = []
        self.day: int | None = None
        self.weeks = 0
        self.windows: dict[str, TopicWindow] = {}

    def counted(self, day: int) -> dict[str, Window] | None:
        """Return the windows of topics with counts, None when they are not those of *day*."""
        if self.day != day:
            return None
        weeks = self.weeks
        return {
            topic: Window(each.count, each.baseline, weeks)
            for topic, each in self.windows.items()
            if each.count or each.baseline
        }


class Counted(NamedTuple):
    """What one event adds to the counts of its intent topics."""

    topics: tuple[str, ...]
    """Sorted: surges that one event starts are announced in this order."""
    day: int
    amount: int


Cause: TypeAlias = Event | None
"""The causing event; None for a due instant."""


def advance(state: AccountState, live: Live, time: float, rules: Rules) -> None:
    """Move the instant to *time*, evaluating the due instants up to it first."""
    assert state.instant is not None
    if utc_day(time) != utc_day(state.instant) or _falls_below(state, time, rules):
        walk(state, live, time, rules)
    _move_instant(state, time, rules)


def walk(state: AccountState, live: Live, until: float, rules: Rules) -> None:
    """Evaluate the due instants up to *until*; the instant ends at the last of them."""
    while (due := next_transition(state, rules)) is not None and due <= until:
        _move_instant(state, due, rules)
        decide_engaged(state, live, rules, None)
        _refresh(state, live, rules)
        _decide_surges(state, live, None)


def walk_due(state: AccountState, live: Live, until: float, rules: Rules) -> None:
    """Evaluate the due instants of the queue up to *until*, midnights of customers included."""
    walk(state, live, until, rules)
    if state.instant is not None and _watched(state):
        midnight = utc_day(until) * SECONDS_PER_DAY
        if midnight > state.instant:
            _move_instant(state, midnight, rules)


def next_transition(state: AccountState, rules: Rules) -> float | None:
    """Return the next instant at which a transition can happen without an event."""
    if state.instant is None:
        return None
    candidates = []
    if state.engaged:
        candidates.append(_falls_at(state, rules))
    if state.surging or _counted_this_week(state, rules):
        candidates.append(_next_midnight(state.instant))
    return min(candidates, default=None)


def next_due(state: AccountState, rules: Rules) -> float | None:
    """Return when the account must be looked at again though nothing happens.

    Besides possible transitions, customers and accounts with an open opportunity are looked
    at every UTC midnight.
    """
    due = next_transition(state, rules)
    if state.instant is not None and _watched(state):
        midnight = _next_midnight(state.instant)
        due = midnight if due is None else min(due, midnight)
    return due


def reweigh(state: AccountState, rules: Rules) -> None:
    """Recompute the weighted minutes at the instant, after a change of seniority."""
    if state.instant is not None:
        state.minutes = minutes_at(
            state,
            state.instant,
            weights=rules.weights,
            half_life_days=rules.model.engagement.half_life_days,
        )


def decide_engaged(state: AccountState, live: Live, rules: Rules, cause: Cause) -> None:
    """Enter or leave the engaged stage by the minutes at the instant (with hysteresis)."""
    funnel = rules.model.funnel
    if state.engaged:
        if state.minutes >= funnel.disengaged_minutes:
            return
    elif state.minutes < funnel.engaged_minutes:
        return
    state.engaged = not state.engaged
    decide_stage(state, live, cause)


def decide_stage(state: AccountState, live: Live, cause: Cause) -> None:
    """Place the account in its deepest stage, announcing a move."""
    stage = stage_of(state)
    if stage != state.stage:
        move = f"{state.stage or NO_STAGE}>{stage or NO_STAGE}"
        state.stage = stage
        _announce(state, live, "stage_changed", move, cause)


def count_topics(
    state: AccountState, live: Live, rules: Rules, *, counted: Counted, cause: Event
) -> None:
    """Count the event for each of its topics, and decide the surges that this touches."""
    model = rules.model.surge
    if state.first_counted_day is None or counted.day < state.first_counted_day:
        state.first_counted_day = counted.day
        live.day = None  # every topic's usual changes with the length of history
    for topic in counted.topics:
        count(state, topic, counted.day, amount=counted.amount, model=model)
    if len(state.counts) > model.max_topics:
        assert state.instant is not None
        forget_topics(state, utc_day(state.instant), model)
        live.day = None
    if _refresh(state, live, rules):
        _decide_surges(state, live, cause)
        return
    for topic in counted.topics:
        _add_to_window(live, topic, counted, rules)
        _decide_surge(state, live, topic, cause)


def _add_to_window(live: Live, topic: str, counted: Counted, rules: Rules) -> None:
    model = rules.model.surge
    window = live.windows.get(topic)
    if window is None:
        start, end = rules.thresholds(0, live.weeks)
        window = live.windows[topic] = TopicWindow(0, 0, start, end)
    assert live.day is not None
    age = live.day - counted.day
    if age < model.window_days:
        window.count += counted.amount
    elif age < model.window_days + model.baseline_days:
        window.baseline += counted.amount
        window.start, window.end = rules.thresholds(window.baseline, live.weeks)


def _refresh(state: AccountState, live: Live, rules: Rules) -> bool:
    """Recompute the windows when they are of another day; tell whether they were."""
    assert state.instant is not None
    day = utc_day(state.instant)
    if live.day == day:
        return False
    model = rules.model.surge
    live.day, live.weeks, live.windows = (
        day,
        complete_weeks(state.first_counted_day, day, model),
        {},
    )
    for topic in state.counts:
        x, baseline, weeks = window_of(state, topic, day, model)
        live.windows[topic] = TopicWindow(x, baseline, *rules.thresholds(baseline, weeks))
    return True


def _decide_surges(state: AccountState, live: Live, cause: Cause) -> None:
    for topic in sorted({*live.windows, *state.surging}):
        _decide_surge(state, live, topic, cause)


def _decide_surge(state: AccountState, live: Live, topic: str, cause: Cause) -> None:
    window = live.windows.get(topic)
    x = 0 if window is None else window.count
    if topic in state.surging:
        if window is None or x < window.end:
            state.surging.remove(topic)
            _announce(state, live, "surge_ended", topic, cause)
    elif window is not None and x >= window.start:
        state.surging = sorted([*state.surging, topic])
        _announce(state, live, "surge_started", topic, cause)


def _announce(state: AccountState, live: Live, rule: str, subject: str, cause: Cause) -> None:
    assert state.instant is not None
    why = (
        f"due\x1f{state.instant * 1000:.0f}"
        if cause is None
        else f"event\x1f{cause['source']}\x1f{cause['id']}"
    )
    text = f"{rule}\x1f{state.account_id}\x1f{subject}\x1f{why}"
    digest = xxh3_128_hexdigest(text.encode("utf-8", "surrogatepass"))
    live.announced.append(Transition(digest, rule, subject, state.instant))


def _move_instant(state: AccountState, time: float, rules: Rules) -> None:
    assert state.instant is not None
    if time > state.instant:
        if state.minutes:
            state.minutes *= exp2((state.instant - time) / rules.half_life_seconds)
        state.instant = time


def _falls_below(state: AccountState, time: float, rules: Rules) -> bool:
    if not state.engaged:
        return False
    assert state.instant is not None
    factor = exp2((state.instant - time) / rules.half_life_seconds)
    return state.minutes * factor < rules.model.funnel.disengaged_minutes


def _falls_at(state: AccountState, rules: Rules) -> float:
    """Return when the minutes are below the engaged stage's lower bound.

    A billionth of a half-life after reaching it, so that rounding cannot leave them on it.
    """
    assert state.instant is not None
    ratio = max(state.minutes / rules.model.funnel.disengaged_minutes, 1.0)
    return state.instant + rules.half_life_seconds * (log2(ratio) + 1e-9)


def _counted_this_week(state: AccountState, rules: Rules) -> bool:
    series = state.counts.get(ANY_TOPIC)
    if series is None:
        return False
    assert state.instant is not None
    first = utc_day(state.instant) - rules.model.surge.window_days + 1
    return any(series[max(first - series[0], 0) + 1 :])


def _watched(state: AccountState) -> bool:
    return is_customer(state) or has_open_opportunity(state)


def _next_midnight(time: float) -> float:
    return (utc_day(time) + 1) * SECONDS_PER_DAY
