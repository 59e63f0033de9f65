"""The three scores of an account as of one moment, from its state alone."""

from collections.abc import Mapping
from typing import NamedTuple

from scoring.account import AccountState, utc_day
from scoring.engagement import engagement_score, minutes_at
from scoring.live import Live
from scoring.relationship import relationship_score, strength_values
from scoring.rules import Rules
from scoring.surge import Window, window_of, windows_of


class Scores(NamedTuple):
    """The three scores of an account as of one moment, and what they are made of."""

    engagement: float
    engagement_minutes: float
    intent_surge: float
    surge: dict[str, float]
    """Score per intent topic with a count within window and baseline."""
    relationship: float
    contacts: int
    """Contacts that exchanged anything, removed ones left out."""


def surge_window(state: AccountState, live: Live, topic: str, day: int, rules: Rules) -> Window:
    """Return the window of *topic* on the UTC *day*: *live*'s where it knows that day."""
    if live.day != day:
        return window_of(state, topic, day, rules.model.surge)
    window = live.windows.get(topic)
    return Window(0, 0, live.weeks) if window is None else window.as_of(live.weeks)


def surge_scores(
    state: AccountState, day: int, rules: Rules, live: Live | None
) -> dict[str, float]:
    """Return the score of each topic with counts on the UTC *day*: remembered where *live* can."""
    if live is not None and live.day == day:
        return live.surges(rules.surge_score)
    windows = windows_of(state, day, rules.model.surge)
    return {topic: rules.surge_score(window) for topic, window in windows.items()}


def highest(surges: Mapping[str, float]) -> float:
    """Return the account's intent surge: the highest of its topics', 0 without any."""
    return max(surges.values()) if surges else 0.0


def relationship_at(state: AccountState, now: float, rules: Rules) -> float:
    """Return the relationship score of *state* at *now* (Unix seconds)."""
    model = rules.model.relationship
    return relationship_score(
        strength_values(state, now, weights=rules.weights, model=model), model
    )


def scores_at(
    state: AccountState,
    now: float,
    rules: Rules,
    live: Live | None = None,
) -> Scores:
    """Return the scores of *state* at *now* (Unix seconds, not before its newest event).

    *live*, where given, saves counting the surge windows anew when they are of the same day.
    """
    model = rules.model
    minutes = minutes_at(
        state, now, weights=rules.weights, half_life_days=model.engagement.half_life_days
    )
    surge = surge_scores(state, utc_day(now), rules, live)
    people = strength_values(state, now, weights=rules.weights, model=model.relationship)
    return Scores(
        engagement=engagement_score(
            minutes, saturation_minutes=model.engagement.saturation_minutes
        ),
        engagement_minutes=minutes,
        intent_surge=highest(surge),
        surge=surge,
        relationship=relationship_score(people, model.relationship),
        contacts=len(people),
    )
