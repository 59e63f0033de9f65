"""Transitions: entering and leaving a stage, starting and ending a surge.

They are evaluated at the account's instant only: event by event, and at due instants, when
something changes although nothing happened. Due instants are the moment at which decayed
minutes fall below the engaged stage's lower bound, and UTC midnights while a surge window
holds a count or a topic surges.
"""

from math import exp2, log2

from scoring.account import AccountState, utc_day
from scoring.alerts import look_for_cooling, scored, stage_moved, surge_began, tell, watched
from scoring.counting import Counted
from scoring.engagement import minutes_at
from scoring.events import Event
from scoring.funnel import NO_STAGE, stage_of
from scoring.live import Cause, Live, TopicWindow, Transition, reproducible_id
from scoring.midnights import pass_midnights
from scoring.model import SECONDS_PER_DAY
from scoring.rules import Rules
from scoring.scores import scores_at
from scoring.surge import (
    all_windows,
    complete_weeks,
    count,
    counted_in_window,
    forget_topics,
    rounded_down,
)


def advance(state: AccountState, live: Live, time: float, rules: Rules) -> None:
    """Move the instant to *time*, evaluating the due instants up to it first."""
    instant = state.instant
    assert instant is not None
    factor = exp2((instant - time) / rules.half_life_seconds)
    falls = state.engaged and state.minutes * factor < rules.model.funnel.disengaged_minutes
    if falls or time // SECONDS_PER_DAY != instant // SECONDS_PER_DAY:
        walk(state, live, time, rules)
        pass_midnights(state, live, time, rules)
        _move_instant(state, time, rules)
    elif time > instant:
        state.minutes *= factor
        state.instant = time


def walk(state: AccountState, live: Live, until: float, rules: Rules) -> None:
    """Evaluate the due instants up to *until*; the instant ends at the last of them."""
    while (due := next_due(state, rules)) is not None and due <= until:
        since = state.instant
        assert since is not None
        pass_midnights(state, live, due, rules)
        _move_instant(state, due, rules)
        decide_engaged(state, live, rules, None)
        _refresh(state, live, rules)
        _decide_surges(state, live, rules, None)
        look_for_cooling(state, live, rules)
        if live.raised:
            before = scored(scores_at(state, since, rules))
            tell(state, live, rules, before=lambda *_, b=before: b, cause=None, time=due)


def next_transition(state: AccountState, rules: Rules) -> float | None:
    """Return the next instant at which a transition can happen without an event."""
    if state.instant is None:
        return None
    candidates = []
    if state.engaged:
        candidates.append(_falls_at(state, rules))
    if state.surging or counted_in_window(state, utc_day(state.instant), rules.model.surge):
        candidates.append(_next_midnight(state.instant))
    return min(candidates, default=None)


def next_due(state: AccountState, rules: Rules) -> float | None:
    """Return when the account must be looked at again though nothing happens.

    Besides possible transitions, customers and accounts with an open opportunity are looked
    at every UTC midnight: their relationship may have cooled.
    """
    due = next_transition(state, rules)
    if state.instant is not None and watched(state):
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
    if state.engaged:
        if state.minutes >= rules.model.funnel.disengaged_minutes:
            return
    elif state.minutes < rules.model.funnel.engaged_minutes:
        return
    state.engaged = not state.engaged
    decide_stage(state, live, rules, cause)


def decide_stage(state: AccountState, live: Live, rules: Rules, cause: Cause) -> None:
    """Place the account in its deepest stage, announcing a move."""
    stage = stage_of(state)
    if stage != state.stage:
        move = f"{state.stage or NO_STAGE}>{stage or NO_STAGE}"
        state.stage = stage
        _announce(state, live, "stage_changed", move, cause)
        stage_moved(state, live, move, rules)


def count_topics(
    state: AccountState, live: Live, rules: Rules, *, counted: Counted, cause: Event
) -> None:
    """Count the event for each of its topics, and decide the surges that this touches."""
    model = rules.model.surge
    topics, counted_day, amount = counted
    if state.first_counted_day is None or counted_day < state.first_counted_day:
        state.first_counted_day = counted_day
        live.day = None  # every topic's usual changes with the length of history
    for topic in topics:
        count(state, topic, counted_day, amount=amount, model=model)
    if len(state.counts) > model.max_topics:
        assert state.instant is not None
        forget_topics(state, utc_day(state.instant), model)
        live.day = None
    if _refresh(state, live, rules):
        _decide_surges(state, live, rules, cause)
        return
    assert live.day is not None
    age, windows = live.day - counted_day, live.windows
    for topic in topics:
        window = windows.get(topic)
        if window is None:
            window = windows[topic] = TopicWindow(0, 0, rules.surge_start(0, live.weeks))
        window.score = None
        recent, surges = age < model.window_days, topic in state.surging
        if recent:
            window.count += amount
        elif age < model.window_days + model.baseline_days:
            window.baseline += amount
        # A higher count only starts surges, and a higher baseline only ends them.
        if recent != surges and (surges or window.count >= window.start):
            _decide_surge(state, live, topic, rules, cause)


def recount_topics(state: AccountState, live: Live, rules: Rules, cause: Cause) -> None:
    """Decide every topic's surge after its counts were changed by more than one event."""
    if len(state.counts) > rules.model.surge.max_topics:
        assert state.instant is not None
        forget_topics(state, utc_day(state.instant), rules.model.surge)
    live.day = None
    _refresh(state, live, rules)
    _decide_surges(state, live, rules, cause)


def _refresh(state: AccountState, live: Live, rules: Rules) -> bool:
    """Recompute the windows when they are of another day; tell whether they were."""
    assert state.instant is not None
    day = int(state.instant // SECONDS_PER_DAY)
    if live.day == day:
        return False
    model = rules.model.surge
    live.day, live.weeks = day, complete_weeks(state.first_counted_day, day, model)
    # A surge takes the more the higher the baseline, so what a lower one takes bounds it. Finding
    # what it takes exactly costs many times as much as comparing scores once.
    live.windows = {
        topic: TopicWindow(x, baseline, rules.surge_start(rounded_down(baseline), weeks))
        for topic, (x, baseline, weeks) in all_windows(state, day, model).items()
    }
    return True


def _decide_surges(state: AccountState, live: Live, rules: Rules, cause: Cause) -> None:
    may_start = [topic for topic, each in live.windows.items() if each.count >= each.start]
    for topic in sorted({*may_start, *state.surging}):
        _decide_surge(state, live, topic, rules, cause)


def _decide_surge(state: AccountState, live: Live, topic: str, rules: Rules, cause: Cause) -> None:
    window = live.windows.get(topic)
    if topic in state.surging:
        if window is None or not _goes_on(window, live.weeks, rules):
            state.surging.remove(topic)
            _announce(state, live, "surge_ended", topic, cause)
    elif window is not None and window.count >= window.start:
        window.start = rules.surge_start(window.baseline, live.weeks)
        if window.count >= window.start:
            state.surging = sorted([*state.surging, topic])
            _announce(state, live, "surge_started", topic, cause)
            surge_began(state, live, topic, rules)


def _goes_on(window: TopicWindow, weeks: int, rules: Rules) -> bool:
    """Tell whether a surge goes on: never without a count, even where the model ends it at 0."""
    end = rules.model.surge.end_score
    return window.count > 0 and window.scored(weeks, rules.surge_score) >= end


def _announce(state: AccountState, live: Live, rule: str, subject: str, cause: Cause) -> None:
    assert state.instant is not None
    id_ = reproducible_id(
        rule, subject, account_id=state.account_id, cause=cause, instant=state.instant
    )
    live.announced.append(Transition(id_, rule, subject, state.instant))


def _move_instant(state: AccountState, time: float, rules: Rules) -> None:
    assert state.instant is not None
    if time > state.instant:
        if state.minutes:
            state.minutes *= exp2((state.instant - time) / rules.half_life_seconds)
        state.instant = time


def _falls_at(state: AccountState, rules: Rules) -> float:
    """Return when the minutes are below the engaged stage's lower bound.

    A billionth of a half-life after reaching it, so that rounding cannot leave them on it.
    """
    assert state.instant is not None
    ratio = max(state.minutes / rules.model.funnel.disengaged_minutes, 1.0)
    return state.instant + rules.half_life_seconds * (log2(ratio) + 1e-9)


def _next_midnight(time: float) -> float:
    return (utc_day(time) + 1) * SECONDS_PER_DAY
