"""The board's index: sorted, filtered, cut into pages that fit together, and decaying by itself."""

from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.engagement import engagement_score
from scoring.fold import Account
from scoring.report import account_report, rfc3339
from stream.board.cursors import Place, cursor_of, place_of
from stream.board.index import SORTED_SECONDS, AccountIndex, Wanted
from stream.board.rows import Change, Decay, Row, changed_row, daily, row_of, shown, sparkline
from stream.web.problems import Problem
from tests.builders import default_rules, fold_all
from tests.strategies import START

DAY = 86_400.0
RULES = default_rules()
DECAY = Decay.of(RULES)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def row(account_id: str, **fields: Any) -> Row:
    given: dict[str, Any] = {
        "name": account_id.title(),
        "searched": f"{account_id.title()}\n{account_id}\n{account_id}.example".casefold(),
        "minutes": 0.0,
        "at": 0.0,
        "board": -inf,
        "intent_surge": 0.0,
        "relationship": 0.0,
        "surging": (),
        "stage": "target",
        "target": True,
        "tier": 1,
        "owner_id": None,
        "last_event_at": None,
        "events": 0,
        "reason": "",
        "days": (),
        "quiet_from": 0,
        "past": (-1, ()),
    }
    return Row(account_id=account_id, **(given | fields))


def index_of(*rows: Row, clock: Clock | None = None) -> AccountIndex:
    index = AccountIndex(clock or Clock())
    for each in rows:
        index.put(each)
    return index


def ids(index: AccountIndex, sort: str = "engagement", **wanted: Any) -> list[str]:
    return [each.account_id for each in index.matching(sort, Wanted(**wanted))]


def visits(*hours: float) -> Account:
    record = {"type": "account", "action": "upserted", "target": True, "name": "Acme Inc"}
    told = [event(0, 0.0, domains=["acme.example"], **record)]
    for number, hour in enumerate(hours, start=1):
        visit = {"type": "page_visit", "url": "https://x.example/pricing", "duration_seconds": 60}
        told.append(event(number, hour, contact_id="ann", **visit))
    return fold_all(told)[0]


def event(number: int, hours: float, **fields: Any) -> dict[str, Any]:
    at = rfc3339(START + hours * 3_600)
    return {"id": f"e{number}", "source": "t", "time": at, "account_id": "acme", **fields}


def test_accounts_are_sorted_by_falling_score_and_equal_ones_by_id() -> None:
    index = index_of(row("b", board=1.0), row("c", board=2.0), row("a", board=1.0), row("d"))

    assert ids(index) == ["c", "a", "b", "d"]


def test_accounts_without_any_event_come_last_by_activity() -> None:
    index = index_of(row("a"), row("b", last_event_at=5.0), row("c", last_event_at=-5.0))

    assert ids(index, "last_event_at") == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"tier": 2}, ["b"]),
        ({"stage": "engaged"}, ["b"]),
        ({"stage": "none"}, ["c"]),
        ({"owner": "rep-1"}, ["a"]),
        ({"surging": True}, ["b"]),
        ({"surging": False}, ["a", "c"]),
        ({"q": "STRASSE"}, ["c"]),
        ({"q": "a.exam"}, ["a"]),
        ({"q": "nothing"}, []),
        ({"tier": 1, "surging": True}, []),
    ],
)
def test_filters_take_what_is_wanted(wanted: dict[str, Any], found: list[str]) -> None:
    index = index_of(
        row("a", owner_id="rep-1"),
        row("b", tier=2, stage="engaged", surging=("pricing",)),
        row("c", stage=None, tier=None, searched="straße 9".casefold()),
    )

    assert ids(index, **wanted) == found


def test_list_stays_as_it_was_for_a_second_and_then_shows_what_changed() -> None:
    clock = Clock()
    index = index_of(row("a", board=1.0), row("b", board=2.0), clock=clock)
    assert ids(index) == ["b", "a"]

    index.put(row("a", board=3.0))

    clock.now = SORTED_SECONDS * 0.9
    assert ids(index) == ["b", "a"]
    clock.now = SORTED_SECONDS * 1.1
    assert ids(index) == ["a", "b"]


def test_filtered_list_follows_changes_too() -> None:
    clock = Clock()
    index = index_of(row("a", tier=1), clock=clock)
    assert ids(index, tier=2) == []

    index.put(row("a", tier=2))
    clock.now = SORTED_SECONDS * 1.1

    assert ids(index, tier=2) == ["a"]


def test_account_that_is_stored_no_more_is_forgotten() -> None:
    clock = Clock()
    index = index_of(row("a"), row("b"), clock=clock)
    assert len(ids(index)) == 2

    index.keep_only({"b"})
    clock.now = SORTED_SECONDS * 1.1

    assert ids(index) == ["b"]
    assert index.get("a") is None


def test_owners_come_once_in_order() -> None:
    rows = [row(str(number), owner_id=f"rep-{number % 3}") for number in range(9)]

    assert index_of(*rows, row("z")).owners() == ["rep-0", "rep-1", "rep-2"]


SCORES = st.sampled_from([-inf, -3.0, 0.0, 1.5, 1.5, 7.25])


@given(st.lists(SCORES, max_size=40), st.integers(1, 9))
def test_pages_contain_every_account_once_in_order(scores: list[float], limit: int) -> None:
    rows = [row(f"{number:02}", board=score) for number, score in enumerate(scores)]
    index = index_of(*rows)

    found: list[str] = []
    place: Place | None = None
    while True:
        page = index.page("engagement", Wanted(), after=place, limit=limit)
        assert page.total == len(rows)
        found += [each.account_id for each in page.rows]
        if page.next is None:
            break
        place = place_of(cursor_of(page.next, "q"), "q")

    assert found == ids(index)


def test_page_goes_on_behind_an_account_that_has_gone() -> None:
    clock = Clock()
    index = index_of(*(row(name, board=9.0 - n) for n, name in enumerate("abcd")), clock=clock)
    page = index.page("engagement", Wanted(), after=None, limit=2)

    index.keep_only({"a", "c", "d"})
    clock.now = 2.0
    rest = index.page("engagement", Wanted(), after=page.next, limit=9)

    assert [each.account_id for each in rest.rows] == ["c", "d"]


@pytest.mark.parametrize("cursor", ["", "x", "!!", "AAAA", "k" * 400, "gA", "wA"])
def test_text_that_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Problem, match="cursor") as refused:
        place_of(cursor, "accounts")

    assert refused.value.status == 422


def test_cursor_of_another_list_is_refused() -> None:
    cursor = cursor_of(Place(1.0, "a"), "accounts", Wanted(tier=1))

    with pytest.raises(Problem):
        place_of(cursor, "accounts", Wanted(tier=2))


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=512),
    st.just(-inf) | st.floats(allow_nan=False, allow_infinity=False),
)
def test_cursor_keeps_its_place(account_id: str, value: float) -> None:
    assert place_of(cursor_of(Place(value, account_id), 1), 1) == Place(value, account_id)


@pytest.mark.parametrize("days", [0.0, 0.3, 9.0, 50.0])
def test_row_shows_later_what_the_account_scores_then(days: float) -> None:
    account = visits(1, 2, 30)
    made_at = START + 2 * DAY
    later = made_at + days * DAY

    found = shown(row_of(account.state, made_at, RULES), later, DECAY)

    report = account_report(account.state, later, RULES)
    assert found["engagement"] == pytest.approx(report["engagement"], abs=1e-4)
    assert found["engagement_minutes"] == pytest.approx(report["engagement_minutes"], abs=1e-4)


def test_row_names_the_account_and_is_found_by_name_id_and_domain() -> None:
    found = row_of(visits(1).state, START + DAY, RULES)

    assert found.name == "Acme Inc"
    for part in ("acme inc", "acme.exa", "acme"):
        assert Wanted(q=part).among([found]) == [found]


def test_announced_change_moves_the_row_as_its_state_will() -> None:
    before, after = visits(1), visits(1, 30)
    now = START + 2 * DAY
    report = account_report(after.state, now, RULES)
    change = msgspec.convert(report, Change, strict=False)

    found = changed_row(row_of(before.state, now, RULES), change, now, DECAY)

    expected = row_of(after.state, now, RULES)
    for name in ("minutes", "intent_surge", "relationship", "surging", "stage"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.board == pytest.approx(expected.board)


def test_sparkline_ends_with_today_and_fills_the_quiet_days_before() -> None:
    account = visits(1)
    midnight = START // DAY * DAY
    now = midnight + 3.5 * DAY
    found = sparkline(
        row_of(account.state, now, RULES, [(int(START // DAY) - 1, 7.0, 0, 0)]), now, DECAY
    )

    ends = [midnight + DAY * each for each in (1, 2, 3)]
    quiet = [round(account_report(account.state, end, RULES)["engagement"], 1) for end in ends]
    today = round(account_report(account.state, now, RULES)["engagement"], 1)
    assert len(found) == 28
    assert found[-5:] == [7.0, *quiet, today]
    assert found[:-5] == [None] * 23


def test_history_ends_with_today_and_says_what_is_not_known() -> None:
    day = int(START // DAY)
    today = {"engagement": 3.0, "intent_surge": 2.0, "relationship": 1.0}

    found = daily([(day - 2, 9.0, 8.0, 7.0)], today, START, days=4)

    nothing = {"engagement": None, "intent_surge": None, "relationship": None}
    assert [each.pop("day") for each in found] == [
        "2008-01-07",
        "2008-01-08",
        "2008-01-09",
        "2008-01-10",
    ]
    assert found == [
        nothing,
        {"engagement": 9.0, "intent_surge": 8.0, "relationship": 7.0},
        nothing,
        today,
    ]


def test_engagement_of_a_row_is_the_score_of_its_minutes() -> None:
    found = shown(row("a", minutes=30.0, at=0.0), 0.0, DECAY)

    saturation = RULES.model.engagement.saturation_minutes
    assert found["engagement"] == round(engagement_score(30.0, saturation_minutes=saturation), 4)
