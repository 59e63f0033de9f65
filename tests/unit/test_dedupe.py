"""Dedupe: by (source, id), within a day of event time, up to a limit."""

from scoring.dedupe import Check, SeenIds, event_hash
from scoring.fold import Outcome
from scoring.model import parse_model
from scoring.rules import Rules
from tests.builders import fold_all
from tests.strategies import Json, event

VISIT = 1
"""The code of page visits."""


def visit(day: float, **fields: object) -> Json:
    return event("page_visit", day, url="https://x/", **fields)


def test_an_id_is_known_per_source() -> None:
    seen = SeenIds()
    seen.check((VISIT, 5), {"source": "a", "id": "1"}, limit=9)

    assert seen.check((VISIT, 5), {"source": "b", "id": "1"}, limit=9) is Check.NEW
    assert seen.check((VISIT, 5), {"source": "a", "id": "1"}, limit=9) is Check.REPEAT


def test_a_day_remembers_no_more_ids_than_its_limit() -> None:
    seen = SeenIds()

    checks = [seen.check((VISIT, 5), {"source": "a", "id": str(i)}, limit=2) for i in (1, 2, 3, 3)]

    assert checks == [Check.NEW, Check.NEW, Check.UNCHECKED, Check.UNCHECKED]
    assert seen.check((VISIT, 5), {"source": "a", "id": "2"}, limit=2) is Check.REPEAT
    assert seen.check((VISIT, 6), {"source": "a", "id": "3"}, limit=2) is Check.NEW


def test_what_was_remembered_waits_to_be_stored_once() -> None:
    seen = SeenIds()
    first = {"source": "a", "id": "1"}
    seen.check((VISIT, 5), first, limit=1)
    seen.check((VISIT, 5), first, limit=1)
    seen.check((VISIT, 5), {"source": "a", "id": "2"}, limit=1)

    assert seen.fresh == {(VISIT, 5): [event_hash(first)]}


def remembering(*keys: tuple[int, int]) -> SeenIds:
    seen = SeenIds()
    for key in keys:
        seen.check(key, {"source": "a", "id": "1"}, limit=9)
    return seen


def test_days_that_leave_the_window_are_forgotten_for_their_type_only() -> None:
    seen = remembering((VISIT, 3), (VISIT, 4), (VISIT, 5), (2, 3))

    seen.move_window(VISIT, old_day=5, new_day=6, days_before=2)

    # Days 3 to 5 become days 4 to 6.
    assert set(seen.days) == set(seen.fresh) == {(VISIT, 4), (VISIT, 5), (2, 3)}
    assert seen.forgotten == [(VISIT, 3)]


def test_a_window_that_moves_far_leaves_all_of_its_old_days() -> None:
    seen = remembering((VISIT, 5))

    seen.move_window(VISIT, old_day=5, new_day=500, days_before=2)

    assert not seen.days
    # Also those that are stored and were not loaded.
    assert seen.forgotten == [(VISIT, 3), (VISIT, 4), (VISIT, 5)]


def test_the_hash_of_an_id_is_the_same_in_every_process() -> None:
    # XXH3-64 of "1:abc"; it is stored, so another value would forget what was seen.
    assert event_hash({"source": "a", "id": "bc"}) == 0x84CAA3B8C931FD6C
    assert 0 <= event_hash({"source": "é", "id": "\U0001f600"}) < 2**64


def test_a_repeat_is_recognised_two_days_back_and_scored_beyond() -> None:
    old, kept = visit(0.5, id="old"), visit(1.0, id="kept")

    _, outcomes = fold_all([old, kept, visit(3.9), kept, old])

    # The newest visit is of day 3: days 1 to 3 are checked, day 0 is not.
    assert outcomes[3:] == [Outcome.DUPLICATE, Outcome.UNCHECKED]


def test_the_days_that_are_checked_follow_the_newest_event_of_the_same_type() -> None:
    old = visit(0.5, id="old")
    chat = event("chat", 9, action="started", conversation_id="v", direction="inbound")

    _, outcomes = fold_all([old, chat, old])

    assert outcomes[2] is Outcome.DUPLICATE


def test_an_event_older_than_the_checked_days_is_scored_unchecked() -> None:
    account, outcomes = fold_all([visit(10), visit(7, id="x"), visit(7, id="x")])

    assert outcomes == [Outcome.SCORED, Outcome.UNCHECKED, Outcome.UNCHECKED]
    assert account.state.events == 3


def test_ids_beyond_the_limit_of_a_day_are_scored_unchecked() -> None:
    rules = Rules.of(parse_model("[engagement]\ndedupe_ids_per_day = 2\n"))
    events = [visit(0, id=name) for name in ("a", "b", "c", "c", "a")]

    account, outcomes = fold_all(events, rules=rules)

    unchecked = [Outcome.UNCHECKED, Outcome.UNCHECKED]
    assert outcomes == [Outcome.SCORED, Outcome.SCORED, *unchecked, Outcome.DUPLICATE]
    assert account.state.events == 4


def test_days_that_are_no_longer_checked_are_dropped_from_memory() -> None:
    account, _ = fold_all([visit(day) for day in range(10)])

    # The day of the newest visit and two before it; DAY_0 is day 13,879.
    assert sorted(account.seen.days) == [(VISIT, 13_879 + day) for day in (7, 8, 9)]


def test_records_of_the_crm_are_deduplicated_too() -> None:
    opened = event("opportunity", 0, action="opened", opportunity_id="o", kind="new")
    lost = event("opportunity", 0, action="lost", opportunity_id="o", kind="new")

    account, outcomes = fold_all([opened, lost, opened])

    assert outcomes[2] is Outcome.DUPLICATE
    assert account.state.opportunities["o"].state == "lost"
