"""What always holds of the fold: order, batches, repeats, bounds and decay."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.account import decode_state, encode_state, utc_day
from scoring.alert import Alert
from scoring.explain import explain, one_line
from scoring.fold import Account, Outcome, fold, seen_key
from scoring.history import DAYS_KEPT, DayScores
from scoring.kpis.codes import Code
from scoring.kpis.facts import FactPacker, unpacked
from scoring.live import Transition
from scoring.midnights import highest
from scoring.model import parse_model
from scoring.noise import Noise
from scoring.pages import ANY_TOPIC
from scoring.relationship import strengths
from scoring.report import account_report, newest_time
from scoring.rules import Rules
from scoring.scores import Scores, scores_at
from scoring.transitions import next_due, walk
from tests.builders import decoded, default_rules, fold_all, new_account
from tests.strategies import START, Json, interleaved, streams

DAY = 86_400.0
ROUNDING = 1.0 + 1e-12
"""A decayed number may be one in its last digit above the one before, nothing more."""


@lru_cache(maxsize=1)
def small_rules() -> Rules:
    """Return rules under which three topics and two contacts are all that is kept."""
    return Rules.of(
        parse_model(
            "[surge]\nmax_topics = 3\n[surge.topics]\npricing = ['pricing']\n"
            "[relationship]\nmax_contacts = 2\n"
        )
    )


def newest(account: Account) -> float:
    return newest_time([account.state]) or float(START)


def assert_close(ours: Scores, theirs: Scores) -> None:
    assert ours.surge.keys() == theirs.surge.keys()
    assert ours.contacts == theirs.contacts
    for name in ("engagement", "engagement_minutes", "intent_surge", "relationship"):
        assert abs(getattr(ours, name) - getattr(theirs, name)) <= 1e-9, name
    for topic, score in theirs.surge.items():
        assert abs(ours.surge[topic] - score) <= 1e-9, topic


def folded_in_batches(
    events: Sequence[Json], cuts: set[int], rules: Rules
) -> tuple[Account, list[Outcome | Noise], list[Any]]:
    """Fold *events*, before each of *cuts* as another worker that finds the account stored.

    The last returned are its transitions, alerts, the scores of its days and its facts.
    """
    account, outcomes = new_account(), list[Outcome | Noise]()
    announced: list[Any] = []
    for number, event in enumerate(events):
        if number in cuts:
            announced += taken(account)
            account = Account(decode_state(encode_state(account.state)), account.seen)
        valid, at = decoded(event)
        outcomes.append(fold(account, valid, at, rules))
    return account, outcomes, announced + taken(account)


def taken(account: Account) -> list[Any]:
    live = account.live
    packed = FactPacker(default_rules().read_page).take(live, {})
    return [
        *live.announced,
        *live.alerts,
        *live.days,
        *(Fact(each) for log in packed for each in unpacked(log)),
    ]


class Fact(tuple[Any, ...]):
    """A fact as it is packed."""

    __slots__ = ()

    @property
    def surges(self) -> bool:
        return self[-2] in (Code.SURGE_STARTED, Code.SURGE_ENDED)


def kept(told: list[Any]) -> tuple[list[Any], ...]:
    """Return transitions, alerts, as many days as are stored, and facts: surges apart."""
    days = [each for each in told if type(each) is DayScores]
    facts = [each for each in told if type(each) is Fact]
    moves = [each for each in told if isinstance(each, Transition)]
    alerts = [each for each in told if isinstance(each, Alert)]
    # A log each; surges follow what else the same commit appends.
    facts.sort(key=lambda fact: (fact.surges, fact[-2] >= Code.ACCOUNT))
    return moves, alerts, days[-DAYS_KEPT:], facts


def assert_the_same_however_cut(events: list[Json], cuts: set[int], rules: Rules) -> None:
    whole, outcomes, announced = folded_in_batches(events, set(), rules)

    split = folded_in_batches(events, cuts, rules)

    assert encode_state(split[0].state) == encode_state(whole.state)
    assert split[0].seen.days == whole.seen.days
    assert split[1] == outcomes
    assert kept(split[2]) == kept(announced)


@settings(max_examples=70, deadline=None)
@given(st.data(), st.sampled_from([0.0, 3_600.0, 9 * DAY]))
def test_scores_do_not_depend_on_how_topics_interleave(data: st.DataObject, later: float) -> None:
    events = data.draw(streams())
    first, _ = fold_all(events)
    second, _ = fold_all(data.draw(interleaved(events)))
    now, rules = newest(first) + later, default_rules()

    assert_close(scores_at(second.state, now, rules), scores_at(first.state, now, rules))
    for known in ("events", "first_event_at", "last_event_at", "newest", "record"):
        assert getattr(second.state, known) == getattr(first.state, known)


@settings(max_examples=70, deadline=None)
@given(st.data())
def test_facts_do_not_depend_on_how_topics_interleave(data: st.DataObject) -> None:
    events = data.draw(streams())
    *_, first = folded_in_batches(events, set(), default_rules())

    *_, second = folded_in_batches(data.draw(interleaved(events)), set(), default_rules())

    def without_surges(told: list[Any]) -> list[Any]:
        return sorted(fact for fact in kept(told)[3] if not fact.surges)

    assert without_surges(second) == without_surges(first)


@settings(max_examples=70, deadline=None)
@given(streams(), st.sets(st.integers(0, 59)))
def test_micro_batches_may_be_cut_anywhere(events: list[Json], cuts: set[int]) -> None:
    assert_the_same_however_cut(events, cuts, default_rules())


@settings(max_examples=70, deadline=None)
@given(streams(types=("page_visit", "intent"), days=30), st.sets(st.integers(0, 59)))
def test_micro_batches_may_be_cut_anywhere_in_a_surge(events: list[Json], cuts: set[int]) -> None:
    assert_the_same_however_cut(events, cuts, default_rules())


@settings(max_examples=40, deadline=None)
@given(streams(), st.sampled_from([1, 2, 7]))
def test_micro_batches_may_have_any_size(events: list[Json], size: int) -> None:
    assert_the_same_however_cut(events, set(range(0, 60, size)), default_rules())


@settings(max_examples=60, deadline=None)
@given(streams(), st.sets(st.integers(0, 59)))
def test_micro_batches_may_be_cut_anywhere_where_topics_and_contacts_are_forgotten(
    events: list[Json], cuts: set[int]
) -> None:
    assert_the_same_however_cut(events, cuts, small_rules())


@settings(max_examples=70, deadline=None)
@given(st.data())
def test_a_repeat_within_the_dedupe_window_changes_nothing(data: st.DataObject) -> None:
    events = data.draw(streams())
    account, _ = fold_all(events)
    rules, state = default_rules(), account.state
    window = [
        each for each in map(decoded, events) if seen_key(state, *each, rules=rules) is not None
    ]
    if not window:
        return
    before = encode_state(state), dict(account.seen.days), list(account.live.announced)

    outcome = fold(account, *data.draw(st.sampled_from(window)), rules)

    assert outcome is Outcome.DUPLICATE
    assert (encode_state(state), account.seen.days, account.live.announced) == before


@settings(max_examples=70, deadline=None)
@given(streams(), st.lists(st.floats(0, 1), min_size=60, max_size=60))
def test_looking_at_due_instants_in_between_changes_no_transition(
    events: list[Json], shares: list[float]
) -> None:
    rules = default_rules()
    plain, watched = new_account(), new_account()
    for event, share in zip(events, shares, strict=False):
        valid, at = decoded(event)
        instant = watched.state.instant
        if instant is not None and at > instant:
            walk(watched.state, watched.live, instant + share * (at - instant), rules)
        fold(plain, valid, at, rules)
        fold(watched, valid, at, rules)

    assert_close(
        scores_at(watched.state, newest(plain), rules), scores_at(plain.state, newest(plain), rules)
    )
    ours, theirs = watched.live.announced, plain.live.announced
    assert [(t.rule, t.subject) for t in ours] == [(t.rule, t.subject) for t in theirs]
    assert all(abs(o.at - t.at) < 0.01 for o, t in zip(ours, theirs, strict=True))


@settings(max_examples=70, deadline=None)
@given(streams(), st.floats(0, 100 * DAY))
def test_reading_an_account_equals_evaluating_its_due_instants(
    events: list[Json], later: float
) -> None:
    rules = default_rules()
    account, _ = fold_all(events)
    now = newest(account) + later
    read = account_report(account.state, now, rules)

    walk(account.state, account.live, now, rules)

    stored = account_report(account.state, now, rules)
    assert (stored["stage"], stored["surging"]) == (read["stage"], read["surging"])
    due = next_due(account.state, rules)
    assert due is None or due > now


@settings(max_examples=70, deadline=None)
@given(
    streams(types=("page_visit", "intent", "survey"), days=60),
    st.sampled_from([default_rules(), small_rules()]),
    st.sampled_from([0.0, 3_600.0, DAY, 9 * DAY]),
)
def test_the_windows_at_hand_give_the_scores_of_the_stored_counts(
    events: list[Json], rules: Rules, later: float
) -> None:
    account = new_account()
    for event in events:
        fold(account, *decoded(event), rules)
        now, state = newest(account) + later, account.state
        assert scores_at(state, now, rules, account.live) == scores_at(state, now, rules)


@settings(max_examples=70, deadline=None)
@given(streams(), st.floats(0, 400 * DAY))
def test_scores_stay_between_0_and_100(events: list[Json], later: float) -> None:
    account, _ = fold_all(events)

    scores = scores_at(account.state, newest(account) + later, default_rules())

    assert 0.0 <= scores.engagement <= 100.0
    assert 0.0 <= scores.relationship <= 100.0
    assert 0.0 <= scores.intent_surge <= 100.0
    assert all(0.0 <= score <= 100.0 for score in scores.surge.values())
    assert scores.engagement_minutes >= 0.0


@settings(max_examples=70, deadline=None)
@given(streams(), st.lists(st.floats(0, 500 * DAY), min_size=2, max_size=5).map(sorted))
def test_engagement_and_relationships_never_rise_without_events(
    events: list[Json], laters: list[float]
) -> None:
    rules, (account, _) = default_rules(), fold_all(events)
    model = rules.model.relationship

    def strengths_at(now: float) -> dict[str, float]:
        found = strengths(account.state, now, weights=rules.weights, model=model)
        return {contact_id: strength for contact_id, strength, _, _ in found}

    nows = [newest(account) + later for later in laters]
    for now, after in pairwise(nows):
        early, late = (scores_at(account.state, at, rules) for at in (now, after))
        assert late.engagement_minutes <= early.engagement_minutes * ROUNDING
        assert late.relationship <= early.relationship * ROUNDING + 1e-12
        before = strengths_at(now)
        for contact_id, strength in strengths_at(after).items():
            assert strength <= before[contact_id] * ROUNDING


@settings(max_examples=70, deadline=None)
@given(streams())
def test_no_more_topics_and_contacts_are_kept_than_the_model_says(events: list[Json]) -> None:
    account, rules = new_account(), small_rules()
    for event in events:
        fold(account, *decoded(event), rules)
        assert len(account.state.counts) <= 3
        assert len(account.state.contacts) <= 2


@settings(max_examples=70, deadline=None)
@given(streams(types=("page_visit", "intent"), days=30))
def test_the_count_of_everything_outlives_forgotten_topics(events: list[Json]) -> None:
    bounded, _ = fold_all(events, rules=small_rules())
    free, _ = fold_all(events)

    assert bounded.state.counts.get(ANY_TOPIC) == free.state.counts.get(ANY_TOPIC)
    assert bounded.state.first_counted_day == free.state.first_counted_day


@settings(max_examples=70, deadline=None)
@given(streams(types=("page_visit", "chat", "email", "meeting")), st.floats(0, 60 * DAY))
def test_forgetting_a_contact_keeps_its_minutes(events: list[Json], later: float) -> None:
    bounded, _ = fold_all(events, rules=small_rules())
    free, _ = fold_all(events)
    now = newest(free) + later

    ours = scores_at(bounded.state, now, small_rules()).engagement_minutes
    theirs = scores_at(free.state, now, default_rules()).engagement_minutes

    assert abs(ours - theirs) <= 1e-9


@settings(max_examples=70, deadline=None)
@given(streams())
def test_a_stored_state_is_read_as_it_was_written(events: list[Json]) -> None:
    account, _ = fold_all(events)
    stored = encode_state(account.state)

    read = decode_state(stored)

    assert read == account.state
    assert encode_state(read) == stored


@settings(max_examples=70, deadline=None)
@given(
    streams(),
    st.sampled_from([0.0, 3_600.0, 9 * DAY, 4_000 * DAY]),
    st.sampled_from([default_rules(), small_rules()]),
)
def test_the_parts_of_an_explanation_add_up(events: list[Json], later: float, rules: Rules) -> None:
    account, _ = fold_all(events, rules=rules)
    now, stored = newest(account) + later, encode_state(account.state)
    report = account_report(account.state, now, rules)

    found = explain(account.state, now, rules)

    engagement, minutes = found["engagement"], report["engagement_minutes"]
    for rows in (engagement["channels"], engagement["contacts"]):
        assert abs(sum(row["minutes"] for row in rows) - minutes) <= 1e-9
        assert abs(sum(row["points"] for row in rows) - report["engagement"]) <= 1e-9
    points = [row["points"] for row in found["relationship"]["contacts"]]
    assert abs(sum(points) - report["relationship"]) <= 1e-9
    assert len(points) == report["contacts"]
    topics = {row["topic"]: row for row in found["surge"]["topics"]}
    assert {topic: row["score"] for topic, row in topics.items()} == report["surge"]
    assert found["surge"]["score"] == report["intent_surge"]
    assert sorted(t for t, row in topics.items() if row["surging"]) == report["surging"]
    assert found["stage"]["stage"] == report["stage"]
    assert 1 <= len(found["because"]) <= 4
    assert one_line(account.state, now, rules) == found["because"][0]
    assert encode_state(account.state) == stored


@settings(max_examples=70, deadline=None)
@given(streams(types=("email", "meeting", "chat", "contact"), days=70), st.integers(1, 40))
def test_highest_relationship_is_that_of_the_last_midnights(events: list[Json], keep: int) -> None:
    rules = Rules.of(parse_model(f"[alerts.relationship_cooling]\nmidnights = {keep}"))
    account, _ = fold_all(events, rules=rules)
    state, now = account.state, account.state.instant or float(START)

    found = highest(state, now, midnights=keep)

    today = utc_day(now)
    midnights = [(d.day + 1, d.relationship) for d in account.live.days if d.day + 1 > today - keep]
    best = max((value for _, value in midnights), default=0.0)
    assert (0.0 if found is None else found[1]) == best
    assert len(state.highs) <= 2 * keep
