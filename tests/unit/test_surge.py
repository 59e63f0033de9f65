"""Intent surge: windows, scores and what starts a surge, with numbers worked out by hand."""

import pytest

from scoring.account import AccountState
from scoring.model import default_model, parse_model
from scoring.scores import scores_at
from scoring.surge import (
    Window,
    complete_weeks,
    count,
    expected_count,
    forget_topics,
    remembered_starts,
    rounded_down,
    surge_score,
    window_of,
    windows_of,
)
from tests.builders import default_rules, fold_all
from tests.strategies import DAY_0, Json, event

MODEL = default_model().surge
SMALL = parse_model("[surge]\nmax_topics = 3\n[surge.topics]\npricing = ['pricing']\n").surge


def counted(counts: dict[str, dict[int, int]]) -> AccountState:
    state = AccountState("acme")
    for topic, days in counts.items():
        for day, amount in sorted(days.items()):
            count(state, topic, day, amount=amount, model=MODEL)
    state.first_counted_day = min(day for days in counts.values() for day in days)
    return state


def topics_at(events: list[Json], day: float) -> dict[str, float]:
    account, _ = fold_all(events)
    return scores_at(account.state, DAY_0 + day * 86_400, default_rules()).surge


@pytest.mark.parametrize(
    ("window", "score"),
    [
        # b = 0, n = 0: r = 1, p = 1/2, so P(X < x) + P(X = x)/2 = 1 - 3/4 x 2^-x.
        (Window(0, 0, 0), 0.0),
        (Window(1, 0, 0), 100 / 3 * 0.625),
        (Window(2, 0, 0), 200 / 3 * 0.8125),
        (Window(3, 0, 0), 90.625),
        (Window(4, 0, 0), 95.3125),
        # b = 0, n = 1: r = 1, p = 2/3, so it is 1 - 2/3 x 3^-x.
        (Window(3, 0, 1), 100 * (1 - 2 / 81)),
        # b = 1, n = 1: r = 2, p = 2/3: P(0) = 12/27, P(1) = 8/27, P(2) = 4/27.
        (Window(2, 1, 1), 200 / 3 * 22 / 27),
        (Window(0, 1, 1), 0.0),
    ],
)
def test_the_score_is_how_unlikely_so_much_is(window: Window, score: float) -> None:
    assert surge_score(window, MODEL) == pytest.approx(score, abs=1e-10)


def test_the_score_rises_with_the_count_and_falls_with_the_usual() -> None:
    by_count = [surge_score(Window(x, 24, 12), MODEL) for x in range(15)]
    by_usual = [surge_score(Window(5, b, 12), MODEL) for b in range(0, 200, 10)]

    assert by_count == sorted(by_count)
    assert by_usual == sorted(by_usual, reverse=True)


@pytest.mark.parametrize("weeks", range(13))
def test_fewer_than_three_events_cannot_surge(weeks: int) -> None:
    assert surge_score(Window(2, 0, weeks), MODEL) < 200 / 3 + 1e-9


def test_the_expected_count_is_the_mean_of_the_predictive_distribution() -> None:
    # r (1 - p)/p with r = 1 + 23 and p = 12/13: 24 / 12.
    assert expected_count(Window(9, 23, 11), MODEL) == pytest.approx(2.0)
    assert expected_count(Window(9, 0, 0), MODEL) == 1.0


@pytest.mark.parametrize("weeks", [0, 1, 5, 12])
@pytest.mark.parametrize("baseline", [0, 1, 2, 7, 30, 100, 1_000, 40_000])
def test_the_count_that_starts_a_surge_decides_as_the_scores_do(baseline: int, weeks: int) -> None:
    start = remembered_starts(MODEL)(baseline, weeks)

    def score(x: int) -> float:
        return surge_score(Window(x, baseline, weeks), MODEL)

    assert score(start - 1) < MODEL.start_score <= score(start)


@pytest.mark.parametrize("weeks", [0, 1, 5, 12])
def test_what_starts_a_surge_over_a_lower_baseline_bounds_it(weeks: int) -> None:
    start = remembered_starts(MODEL)
    baselines = [*range(40), *range(40, 4_000, 37)]
    starts = [start(each, weeks) for each in baselines]

    assert starts == sorted(starts)
    assert all(
        start(rounded_down(each), weeks) <= known
        for each, known in zip(baselines, starts, strict=True)
    )


def test_four_events_start_the_first_surge_and_three_keep_it() -> None:
    # See the scores above: 90.6 for three, 95.3 for four; 54.2 for two.
    assert remembered_starts(MODEL)(0, 0) == 4
    assert (
        surge_score(Window(2, 0, 0), MODEL) < MODEL.end_score <= surge_score(Window(3, 0, 0), MODEL)
    )


def test_a_start_score_of_100_is_no_endless_search() -> None:
    model = parse_model("[surge]\nstart_score = 100\nend_score = 100\n").surge

    start = remembered_starts(model)(5, 3)

    assert surge_score(Window(start, 5, 3), model) == 100.0


def test_the_window_is_today_and_six_days_and_the_baseline_the_84_before() -> None:
    days = {100: 1, 94: 2, 93: 4, 10: 8, 9: 16}

    window = window_of(counted({"*": days}), "*", 100, MODEL)

    # Week: days 94 to 100. Baseline: days 10 to 93; day 9 is forgotten.
    assert window == Window(3, 12, 12)


def test_the_days_after_today_count_nothing() -> None:
    assert window_of(counted({"*": {100: 1, 101: 9}}), "*", 100, MODEL).observed == 1


@pytest.mark.parametrize(
    ("first", "weeks"),
    # As of day 100 the week begins on day 94.
    [(None, 0), (100, 0), (94, 0), (88, 0), (87, 1), (81, 1), (80, 2), (10, 12), (0, 12)],
)
def test_history_counts_in_complete_weeks_before_this_one(first: int | None, weeks: int) -> None:
    assert complete_weeks(first, 100, MODEL) == weeks


def test_history_is_as_long_as_that_of_any_topic() -> None:
    state = counted({"*": {60: 1, 100: 1}, "pricing": {100: 1}})

    assert window_of(state, "pricing", 100, MODEL) == Window(1, 0, 4)


def test_topics_without_counts_in_91_days_have_no_score() -> None:
    state = counted({"old": {9: 5}, "kept": {10: 5}})

    assert windows_of(state, 100, MODEL) == {"kept": Window(0, 5, 12)}


def test_a_visit_counts_one_for_each_of_its_topics_and_for_everything() -> None:
    account, _ = fold_all(
        [
            event("page_visit", 0, url="https://x/pricing"),
            event("page_visit", 0, url="https://x/blog"),
            event("page_visit", 0, url="https://x/careers/pricing"),
        ]
    )

    assert {topic: series[1:] for topic, series in account.state.counts.items()} == {
        "*": [2],
        "pricing": [1],
    }


@pytest.mark.parametrize(
    ("strength", "amount"),
    [(None, 1), (0, 1), (0.4, 1), (1.5, 2), (2.5, 2), (3.5, 4), (7.6, 8), (1_000, 1_000)],
)
def test_a_signal_counts_its_strength_rounded_half_to_even(
    strength: float | None, amount: int
) -> None:
    given = {} if strength is None else {"strength": strength}

    account, _ = fold_all([event("intent", 0, topic="crm", **given)])

    assert account.state.counts == {"*": [13_879, amount], "crm": [13_879, amount]}


def test_a_signal_on_everything_counts_once() -> None:
    account, _ = fold_all([event("intent", 0, topic="*")])

    assert account.state.counts == {"*": [13_879, 1]}


def test_the_score_of_the_account_is_the_highest_of_its_topics() -> None:
    events = [event("intent", 0, topic="crm", id=f"e{n}") for n in range(3)]
    account, _ = fold_all([*events, event("intent", 0, topic="erp")])

    scores = scores_at(account.state, DAY_0, default_rules())

    # No history: 1 - 3/4 x 2^-x for three and four signals.
    assert scores.surge == pytest.approx({"*": 95.3125, "crm": 90.625, "erp": 100 / 3 * 0.625})
    assert scores.intent_surge == pytest.approx(95.3125)


def test_a_late_event_counts_in_its_own_day() -> None:
    events = [event("intent", 20, topic="crm"), event("intent", 5, topic="crm", strength=3)]

    # As of day 20: one signal this week, three before, one complete week of history:
    # r = 4, p = 2/3; P(0) = 16/81, P(1) = 64/243; (P(0) + P(1)/2) / 3.
    assert topics_at(events, 20)["crm"] == pytest.approx(100 / 3 * (16 / 81 + 32 / 243))


def test_the_least_counted_topic_is_forgotten_first() -> None:
    state = counted({"*": {100: 6}, "a": {100: 3}, "b": {100: 1}, "c": {100: 2}})

    forget_topics(state, 100, SMALL)

    assert list(state.counts) == ["*", "a", "c"]


def test_of_equally_counted_topics_the_one_counted_last_is_kept_then_by_name() -> None:
    state = counted({"*": {99: 2, 100: 2}, "b": {100: 1}, "c": {99: 1}, "a": {100: 1}})

    forget_topics(state, 100, SMALL)
    assert set(state.counts) == {"*", "a", "b"}

    count(state, "d", 100, amount=2, model=SMALL)
    forget_topics(state, 100, SMALL)
    assert set(state.counts) == {"*", "b", "d"}


def test_topics_out_of_reach_are_forgotten_before_counted_ones() -> None:
    state = counted({"old": {9: 50}, "edge": {10: 1}, "a": {100: 1}, "*": {100: 2}})

    forget_topics(state, 100, SMALL)

    assert set(state.counts) == {"*", "a", "edge"}
    assert state.first_counted_day == 9
