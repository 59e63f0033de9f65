"""Intent surge: more attention than is usual for this account, per intent topic.

x = the count of the window (this week), b = the count of the baseline before it, n = complete
windows of the baseline since the account's first counted day. With a Gamma(shape, weeks) prior
on the weekly rate, the count expected this week is negative binomial with r = shape + b and
p = (weeks + n)/(weeks + n + 1). Score = 100 min(1, x/min_events) (P(X < x) + P(X = x)/2).
"""

from collections.abc import Callable
from functools import lru_cache
from math import sqrt
from typing import Final, NamedTuple

from scoring.account import AccountState, DaySeries, add_on_day, over_days
from scoring.model import SurgeModel
from scoring.pages import ANY_TOPIC

SCORES_REMEMBERED = 65_536
MOST_COUNTED: Final = 2**41


class Window(NamedTuple):
    """What the surge score of one topic is made of, as of one UTC day."""

    observed: int
    """x: visits and signals in the window."""
    baseline: int
    """b: visits and signals in the baseline."""
    weeks: int
    """n: complete windows of baseline history."""


def surge_score(window: Window, model: SurgeModel) -> float:
    """Return the score from 0 to 100 of *window*.

    P(X <= k) of the negative binomial is the regularised incomplete beta function
    I_p(r, k + 1), and P(X < x) + P(X = x)/2 the mean of P(X <= x - 1) and P(X <= x).

    >>> from scoring.model import default_model
    >>> surge_score(Window(0, 5, 3), default_model().surge)
    0.0
    """
    from scipy.special import betainc  # takes as long as all else of a command's start

    x = window.observed
    if x <= 0:
        return 0.0
    r = model.prior_shape + window.baseline
    weeks = model.prior_weeks + window.weeks
    p = weeks / (weeks + 1.0)
    below, upto = float(betainc(r, x, p)), float(betainc(r, x + 1.0, p))
    return 100.0 * min(1.0, x / model.min_events) * (below + upto) / 2.0


def expected_count(window: Window, model: SurgeModel) -> float:
    """Return the mean of the predictive distribution: the count usual for this window.

    >>> from scoring.model import default_model
    >>> expected_count(Window(9, 23, 11), default_model().surge)
    2.0
    """
    return (model.prior_shape + window.baseline) / (model.prior_weeks + window.weeks)


def remembered_scores(model: SurgeModel) -> Callable[[Window], float]:
    """Return surge_score under *model*, remembering the windows asked for last."""

    @lru_cache(maxsize=SCORES_REMEMBERED)
    def score(window: Window) -> float:
        return surge_score(window, model)

    return score


def remembered_starts(model: SurgeModel) -> Callable[[int, int], int]:
    """Return the function from (baseline, weeks) to the least count that starts a surge.

    It remembers results. The score rises with the count, so comparing a count with a whole number
    decides event by event what comparing scores would.
    """

    @lru_cache(maxsize=SCORES_REMEMBERED)
    def start(baseline: int, weeks: int) -> int:
        return _least_count(baseline, weeks, model)

    return start


def rounded_down(baseline: int) -> int:
    """Return *baseline* rounded down to three binary digits: so there are few of them.

    >>> [rounded_down(each) for each in (0, 7, 9, 300)]
    [0, 7, 8, 256]
    """
    spare = baseline.bit_length() - 3
    return baseline if spare <= 0 else baseline >> spare << spare


def _least_count(baseline: int, weeks: int, model: SurgeModel) -> int:
    """Return the least count above 0 whose score starts a surge, found by halving.

    It begins two deviations above what is usual, near which thresholds lie: every look costs two
    incomplete beta functions.
    """

    def reaches(count: int) -> bool:
        return surge_score(Window(count, baseline, weeks), model) >= model.start_score

    usual = expected_count(Window(0, baseline, weeks), model)
    deviation = sqrt(usual + usual / (model.prior_weeks + weeks))
    low, high, step = 0, max(1, round(usual + 2.0 * deviation)), max(1, round(deviation / 2.0))
    if reaches(high):
        while low < high - step and reaches(high - step):
            high, step = high - step, 2 * step
        low = max(low, high - step)
    else:
        while not reaches(high):
            low, high, step = high, high + step, 2 * step
            if high > MOST_COUNTED:  # a start score of 100 is reached by no count
                return MOST_COUNTED
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def window_of(state: AccountState, topic: str, day: int, model: SurgeModel) -> Window:
    """Return the window of *topic* as of the UTC *day*."""
    weeks = complete_weeks(state.first_counted_day, day, model)
    return _window(state.counts.get(topic) or [day], day, weeks, model)


def _window(series: DaySeries, day: int, weeks: int, model: SurgeModel) -> Window:
    first = day - model.window_days + 1
    return Window(
        over_days(series, first, day),
        over_days(series, first - model.baseline_days, first - 1),
        weeks,
    )


def complete_weeks(first_counted_day: int | None, day: int, model: SurgeModel) -> int:
    """Return n: complete windows between the first counted day and this week's window."""
    if first_counted_day is None:
        return 0
    weeks = (day - model.window_days + 1 - first_counted_day) // model.window_days
    return max(0, min(model.baseline_days // model.window_days, weeks))


def all_windows(state: AccountState, day: int, model: SurgeModel) -> dict[str, Window]:
    """Return the window of every topic that is remembered, as of the UTC *day*."""
    weeks = complete_weeks(state.first_counted_day, day, model)
    return {topic: _window(s, day, weeks, model) for topic, s in state.counts.items()}


def windows_of(state: AccountState, day: int, model: SurgeModel) -> dict[str, Window]:
    """Return the windows of all topics with a count within window and baseline at *day*."""
    windows = all_windows(state, day, model)
    return {topic: window for topic, window in windows.items() if window[0] or window[1]}


def counted_in_window(state: AccountState, day: int, model: SurgeModel) -> bool:
    """Tell whether anything was counted in the window that ends with the UTC *day*, or later."""
    series = state.counts.get(ANY_TOPIC)
    if series is None:
        return False
    return any(series[max(day - model.window_days + 1 - series[0], 0) + 1 :])


def count(state: AccountState, topic: str, day: int, *, amount: int, model: SurgeModel) -> None:
    """Count *amount* visits or signals of *topic* on *day* (forgetting topics is separate)."""
    series = state.counts.get(topic)
    if series is None:
        state.counts[topic] = [day, amount]
    elif 0 < (index := day - series[0] + 1) < len(series):
        series[index] += amount
    else:
        add_on_day(series, day, amount, keep_days=model.window_days + model.baseline_days)


def forget_topics(state: AccountState, day: int, model: SurgeModel) -> None:
    """Forget topics without counts up to *day*, then the least counted beyond the limit.

    Of equally counted topics the one whose newest count is older goes first, then by name.
    Surging topics have counts in the window, so only the limit can touch them.
    """
    first = day - model.window_days - model.baseline_days + 1
    for topic in [t for t, s in state.counts.items() if not over_days(s, first, day)]:
        del state.counts[topic]
    surplus = len(state.counts) - model.max_topics
    if surplus > 0:
        order = sorted(
            state.counts,
            key=lambda t: (
                over_days(state.counts[t], first, day),
                len(state.counts[t]) + state.counts[t][0],
                t,
            ),
        )
        for topic in order[:surplus]:
            del state.counts[topic]
