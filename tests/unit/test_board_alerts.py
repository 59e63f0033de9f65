"""The board's memory of alerts, and of what people and the notifier did about them."""

import itertools
from typing import Any

import pytest

from scoring.digests import digest_of
from scoring.report import parse_time, rfc3339
from stream.board.alert_book import AlertBook, Chosen, RecordAt, object_in
from stream.board.cursors import Place
from stream.board.moves import Moves

NOW = parse_time("2026-01-31T09:00:00Z")
HOUR, DAY = 3_600.0, 86_400.0

Json = dict[str, Any]


def alert(number: int, *, hours_ago: float = 0.0, **fields: Any) -> Json:
    given = {
        "id": f"{number:032x}",
        "rule": "high_value_page",
        "severity": "high",
        "account_id": "acme",
        "owner_id": "rep-1",
        "at": rfc3339(NOW - hours_ago * HOUR),
        "next_step": "Call.",
    }
    return given | fields


def book_of(*alerts: Json) -> AlertBook:
    book = AlertBook()
    for each in alerts:
        book.add(each)
    return book


def numbers(alerts: list[Json]) -> list[int]:
    return [int(each["id"], 16) for each in alerts]


def listed(book: AlertBook, limit: int = 50, **chosen: Any) -> list[int]:
    return numbers(book.listed(Chosen(**chosen), after=None, limit=limit).alerts)


OFFSETS = itertools.count()


def act(book: AlertBook, key: str, value: Json | None) -> None:
    book.acted(key, value, RecordAt(0, next(OFFSETS)))


def acknowledge(book: AlertBook, number: int) -> None:
    act(book, f"ack|{number:032x}", {"by": "ann", "at": rfc3339(NOW)})


def mute(book: AlertBook, key: str, *, hours: float) -> None:
    act(
        book,
        f"mute|{key}",
        {"until": rfc3339(NOW + hours * HOUR), "by": "ann", "at": rfc3339(NOW)},
    )


def is_open(book: AlertBook) -> bool:
    return book.newest_open("acme", wall=NOW) is not None


def test_newest_alert_comes_first_however_they_arrive() -> None:
    book = book_of(alert(1, hours_ago=2), alert(2, hours_ago=3), alert(3, hours_ago=1))

    assert listed(book) == [3, 1, 2]


def test_repeated_alert_is_one() -> None:
    book = book_of(alert(1))

    assert not book.add(alert(1))
    assert len(book) == 1


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"id": 7},
        {"id": "x" * 32},
        {"at": "soon"},
        {"at": None},
        {"account_id": None},
        {"rule": 1},
    ],
)
def test_what_is_no_alert_is_not_kept(broken: Json) -> None:
    book = AlertBook()

    assert not book.add((alert(1) | broken) if broken else {})
    assert len(book) == 0


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({"account": "beta"}, [2]),
        ({"owner": "rep-2"}, [2]),
        ({"rule": "surge_started"}, [3]),
        ({"severity": "low"}, [3]),
        ({"acknowledged": True}, [1]),
        ({"acknowledged": False}, [2, 3]),
        ({"account": "nobody"}, []),
    ],
)
def test_lists_take_what_is_chosen(chosen: Json, found: list[int]) -> None:
    book = book_of(
        alert(1),
        alert(2, hours_ago=1, account_id="beta", owner_id="rep-2"),
        alert(3, hours_ago=2, rule="surge_started", severity="low"),
    )
    acknowledge(book, 1)

    assert listed(book, **chosen) == found


def test_pages_contain_every_alert_once() -> None:
    book = book_of(*(alert(number, hours_ago=number % 3) for number in range(1, 12)))

    found: list[int] = []
    place: Place | None = None
    while True:
        page = book.listed(Chosen(), after=place, limit=3)
        found += numbers(page.alerts)
        place = page.next
        if place is None:
            break

    assert found == listed(book)
    assert sorted(found) == list(range(1, 12))


def test_older_than_fourteen_days_are_forgotten() -> None:
    book = book_of(alert(1, hours_ago=15 * 24), alert(2, hours_ago=13 * 24))

    book.add(alert(3))

    assert listed(book) == [3, 2]
    assert not book.add(alert(4, hours_ago=15 * 24))


def test_oldest_go_when_there_are_too_many() -> None:
    book = AlertBook(most=3)

    for number in range(1, 6):
        book.add(alert(number, hours_ago=9 - number))

    assert listed(book) == [5, 4, 3]
    assert numbers(book.of_account("acme", limit=9)) == [5, 4, 3]


def test_acknowledged_alert_says_by_whom_and_may_be_taken_back() -> None:
    book = book_of(alert(1))
    acknowledge(book, 1)
    found = book.get(f"{1:032x}")
    assert found is not None
    assert found["acknowledged"] == {"by": "ann", "at": rfc3339(NOW)}
    assert not is_open(book)

    act(book, f"ack|{1:032x}", None)

    assert is_open(book)


def taken(book: AlertBook) -> bool:
    found = book.get(f"{1:032x}")
    assert found is not None
    return found["acknowledged"] is not None


def test_what_was_done_here_stays_when_older_records_are_read_after_it() -> None:
    book, key, by = book_of(alert(1)), f"ack|{1:032x}", {"by": "ann", "at": rfc3339(NOW)}
    book.acting(key, by, RecordAt(2, 7))
    assert taken(book)
    book.acting(key, None, RecordAt(2, 8))
    assert not taken(book)

    book.acted(key, by, RecordAt(2, 7))
    assert not taken(book)
    book.acted(key, None, RecordAt(2, 8))
    assert not taken(book)

    book.acted(key, by, RecordAt(2, 9))
    assert taken(book)


def test_what_was_done_here_is_old_news_when_its_record_was_read_already() -> None:
    book, key, by = book_of(alert(1)), f"ack|{1:032x}", {"by": "ann", "at": rfc3339(NOW)}
    book.acted(key, by, RecordAt(2, 7))
    book.acted(key, None, RecordAt(2, 8))

    book.acting(key, by, RecordAt(2, 7))

    assert not taken(book)


def test_places_of_other_partitions_say_nothing_about_age() -> None:
    book, key, by = book_of(alert(1)), f"ack|{1:032x}", {"by": "ann", "at": rfc3339(NOW)}
    book.acting(key, by, RecordAt(2, 700))

    book.acted(key, None, RecordAt(5, 1))

    assert not taken(book)


@pytest.mark.parametrize("key", ["account|acme", "rule|high_value_page"])
def test_muted_alert_is_not_open_until_the_mute_ends(key: str) -> None:
    book = book_of(alert(1))
    mute(book, key, hours=1)
    assert not is_open(book)
    assert book.newest_open("acme", wall=NOW + 2 * HOUR) is not None

    act(book, f"mute|{key}", None)

    assert is_open(book)


def test_mutes_that_have_ended_are_not_listed() -> None:
    book = AlertBook()
    mute(book, "account|a|b", hours=2)
    mute(book, "rule|surge_started", hours=1)
    mute(book, "account|old", hours=-1)

    found = book.mutes(NOW)

    assert [(each["what"], each["name"]) for each in found] == [
        ("rule", "surge_started"),
        ("account", "a|b"),
    ]


@pytest.mark.parametrize("value", [{}, {"until": 5}, {"until": "later"}])
def test_mute_without_an_end_is_none(value: Json) -> None:
    book = book_of(alert(1))

    act(book, "mute|account|acme", value)

    assert is_open(book)


def test_alert_says_where_it_was_delivered() -> None:
    book = book_of(alert(1))
    key = f"{1:032x}|sales"
    book.delivered(key, {"route": "sales", "outcome": "held", "at": "t1"})
    book.delivered(key, {"route": "sales", "outcome": "delivered", "at": "t2"})

    found = book.get(f"{1:032x}")

    assert found is not None
    assert found["deliveries"] == [{"route": "sales", "outcome": "delivered", "at": "t2"}]


def test_accounts_to_call_are_the_most_severe_then_the_newest() -> None:
    book = book_of(
        alert(1, account_id="old", hours_ago=5),
        alert(2, account_id="new", hours_ago=1),
        alert(3, account_id="mild", severity="medium"),
        alert(4, account_id="old", severity="low"),
        alert(5, account_id="gone", hours_ago=30),
        alert(6, account_id="done"),
    )
    acknowledge(book, 6)

    assert book.accounts_with_open(since=NOW - DAY, wall=NOW) == ["new", "old", "mild"]


@pytest.mark.parametrize("value", [None, b"", b"[]", b"7", b'{"a":', b"\xff", b'"text"'])
def test_only_objects_are_read(value: bytes | None) -> None:
    assert object_in(value) is None


def move(subject: str, *, days_ago: float, rule: str = "stage_changed") -> Json:
    return {"rule": rule, "subject": subject, "at": rfc3339(NOW - days_ago * DAY)}


def test_alert_and_transition_of_one_move_count_once() -> None:
    moves = Moves()
    moves.add("acme", move("target>engaged", days_ago=1) | {"id": "alert"})
    moves.add("acme", move("target>engaged", days_ago=1) | {"id": "transition"})
    moves.add("beta", move("target>engaged", days_ago=1))

    assert moves.counts(NOW, days=7) == {"target>engaged": 2}


def test_moves_are_counted_in_their_days() -> None:
    moves = Moves()
    for days_ago in (0.5, 6.9, 7.1, 29.0, 31.0):
        moves.add("acme", move("engaged>target", days_ago=days_ago))
    moves.add("acme", move("pricing", days_ago=1, rule="surge_started"))

    assert moves.counts(NOW, days=7) == {"engaged>target": 2}
    assert moves.counts(NOW, days=30) == {"engaged>target": 4}


@pytest.mark.parametrize("broken", [{"at": "never"}, {"at": 5}, {"subject": None}])
def test_move_that_cannot_be_read_is_passed_over(broken: Json) -> None:
    moves = Moves()

    moves.add("acme", move("target>engaged", days_ago=1) | broken)

    assert moves.counts(NOW, days=30) == {}


def named(number: int, **fields: Any) -> Json:
    return alert(
        number,
        subject="/pricing",
        account_name="Acme",
        event_time=rfc3339(NOW),
        sentence="ann of Acme opened /pricing.",
        why={"contact_id": "ann", "seniority": "vp", "url": "https://x.example/pricing?mail=a@b.c"},
        **fields,
    )


def test_alerts_about_somebody_who_was_erased_tell_of_somebody() -> None:
    book = book_of(named(1))

    book.erase({digest_of("ann"): NOW})
    book.add(named(2))

    for shown in book.listed(Chosen(), after=None, limit=9).alerts:
        assert shown["sentence"] == "Somebody of Acme opened /pricing."
        assert shown["why"] == {
            "contact_id": None, "seniority": None, "url": "https://x.example/pricing"
        }  # fmt: skip


def test_alerts_about_others_and_about_what_came_later_keep_their_names() -> None:
    book = book_of(named(1))

    book.erase({digest_of("bob"): NOW, digest_of("ann"): NOW - 1.0})

    assert book.listed(Chosen(), after=None, limit=9).alerts[0]["why"]["contact_id"] == "ann"
