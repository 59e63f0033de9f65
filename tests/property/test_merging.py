"""What always holds when accounts merge and people move or are erased."""

from functools import lru_cache
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scoring.account import AccountState, encode_state
from scoring.engagement import minutes_at
from scoring.fold import Account
from scoring.model import parse_model
from scoring.report import newest_time
from scoring.rules import Rules
from scoring.scores import scores_at
from tests.builders import fold_all
from tests.following import Accounts
from tests.strategies import CONTACTS, START, Json, interleaved, rfc3339, streams

DAY = 86_400.0
AFTER_ALL = START + 400 * DAY


@lru_cache(maxsize=2)
def open_rules(on_move: str = "leave") -> Rules:
    """Return rules under which no daily cap and no horizon is met by these tests."""
    caps = "\n".join(f"{t} = 1e6" for t in ("ad", "page_visit", "chat", "email", "meeting"))
    return Rules.of(
        parse_model(
            "[engagement]\nhorizon_days = 84\n"
            f"[engagement.daily_cap_minutes]\n{caps}\nintent = 1e6\n"
            f"[contacts]\non_move = '{on_move}'"
        )
    )


def distinct(events: list[Json]) -> list[Json]:
    """Return *events* without repeats, and one of each moment."""
    return list({each["time"]: each for each in events}.values())


def merger(of: str, into: str, time: float, number: int = 0) -> Json:
    return {
        "id": f"merge-{of}-{number}", "source": "crm", "type": "account", "action": "removed",
        "time": rfc3339(time), "account_id": of, "merged_into": into,
    }  # fmt: skip


def erasure(contact_id: str, time: float) -> Json:
    return {
        "id": f"erase-{contact_id}", "source": "surgeline-forget", "type": "contact",
        "action": "removed", "erase": True, "time": rfc3339(time), "account_id": "acme",
        "contact_id": contact_id,
    }  # fmt: skip


def assert_same(ours: AccountState, theirs: AccountState, rules: Rules, now: float) -> None:
    one, other = scores_at(ours, now, rules), scores_at(theirs, now, rules)
    assert one.contacts == other.contacts
    assert one.surge.keys() == other.surge.keys()
    for name in ("engagement", "engagement_minutes", "intent_surge", "relationship"):
        assert abs(getattr(one, name) - getattr(other, name)) <= 1e-9, name
    for name in ("events", "first_event_at", "last_event_at", "newest", "first_counted_day"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert {i: o.state for i, o in ours.opportunities.items()} == {
        i: o.state for i, o in theirs.opportunities.items()
    }
    assert (ours.churned_at, ours.record) == (theirs.churned_at, theirs.record)


def newest(account: Account) -> float:
    return newest_time([account.state]) or float(START)


@settings(max_examples=70, deadline=None)
@given(st.data(), streams(days=30), st.integers(0, 60), st.sampled_from([0.0, 9 * DAY]))
def test_two_accounts_that_merge_score_as_one_that_did_it_all(
    data: st.DataObject, events: list[Json], cut: int, later: float
) -> None:
    events, rules = distinct(events), open_rules()
    whole, _ = fold_all(events, rules=rules)
    accounts = Accounts(rules)
    merge = merger("old", "acme", AFTER_ALL)
    for number, each in enumerate(events):
        if number == min(cut, len(events) - 1):
            accounts.fold(merge)
        at = "acme" if each["type"] == "account" else data.draw(st.sampled_from(["acme", "old"]))
        accounts.fold(each | {"account_id": at})
    if not events:
        return

    now = newest(whole) + later
    # The merger itself moves on no clock but that of the account which is no more.
    assert_same(accounts["acme"].state, whole.state, rules, now)
    gone = scores_at(accounts["old"].state, now, rules)
    assert (gone.engagement, gone.intent_surge, gone.relationship) == (0.0, 0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(st.data(), streams(days=30), st.permutations(["ab", "bc"]))
def test_accounts_that_merge_in_a_row_score_as_one_whatever_comes_first(
    data: st.DataObject, events: list[Json], order: list[str]
) -> None:
    events, rules = [e for e in distinct(events) if e["type"] != "account"], open_rules()
    assume(events)
    whole, _ = fold_all(events, rules=rules)
    accounts, mergers = Accounts(rules), [merger(p[0], p[1], AFTER_ALL) for p in order]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), min_size=2, max_size=2)))
    for number in range(len(events) + 1):
        for cut, merge in zip(cuts, mergers, strict=True):
            if cut == number:
                accounts.fold(merge)
        if number < len(events):
            at = data.draw(st.sampled_from("abc"))
            accounts.fold(events[number] | {"account_id": at})

    assert_same(accounts["c"].state, whole.state, rules, newest(whole))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["ab", "ba", "bc", "cb", "ac", "ca"]), min_size=1, max_size=8),
    st.data(),
)
def test_mergers_in_a_ring_lose_nothing_and_end(mergers: list[str], data: st.DataObject) -> None:
    accounts = Accounts(open_rules())
    for account_id in "abc":
        accounts.fold(chat(account_id, START, account_id))
    for number, pair in enumerate(mergers):
        time = START + data.draw(st.integers(0, 5))
        accounts.fold(merger(pair[0], pair[1], time, number))
        accounts.fold(chat("a", START + 10, f"late-{number}"))

    assert sum(each.state.events for each in accounts.values()) == 3 + len(mergers)


def chat(account_id: str, time: float, id_: str) -> Json:
    return {
        "id": id_, "source": "test", "type": "chat", "action": "message", "direction": "inbound",
        "conversation_id": "v", "time": rfc3339(time), "account_id": account_id,
    }  # fmt: skip


@settings(max_examples=70, deadline=None)
@given(st.data(), streams(days=30), st.sampled_from(CONTACTS))
def test_a_person_who_moves_takes_along_exactly_what_they_did(
    data: st.DataObject, events: list[Json], who: str
) -> None:
    types = ("account", "contact")
    events = [e for e in distinct(events) if e["type"] not in types]
    rules = open_rules("take_along")
    accounts, apart = Accounts(rules), Accounts(rules)
    for each in events:
        at = data.draw(st.sampled_from(["old", "new"]))
        accounts.fold(each | {"account_id": at})
        apart.fold(each | {"account_id": at})
    if who not in apart["old"].state.contacts:
        return
    accounts.fold(
        {
            "id": "moved", "source": "crm", "type": "contact", "action": "upserted",
            "time": rfc3339(AFTER_ALL), "account_id": "new", "contact_id": who,
            "moved_from": "old",
        }
    )  # fmt: skip

    def minutes(found: Accounts, account_id: str) -> float:
        half_life = rules.model.engagement.half_life_days
        state = found[account_id].state
        return minutes_at(state, AFTER_ALL, weights=rules.weights, half_life_days=half_life)

    theirs = AccountState("x", landmark=apart["old"].state.landmark)
    theirs.contacts[who] = apart["old"].state.contacts[who]
    apart["x"].state = theirs
    moved = minutes(apart, "x")
    assert abs(minutes(accounts, "new") - minutes(apart, "new") - moved) <= 1e-9
    assert abs(minutes(accounts, "old") - minutes(apart, "old") + moved) <= 1e-9
    left = accounts["old"].state.contacts[who]
    assert left.removed
    assert (left.minutes, left.inbound, left.outbound) == ({}, 0.0, 0.0)


@settings(max_examples=70, deadline=None)
@given(st.data(), streams(), st.sampled_from(CONTACTS), st.sampled_from([0.0, 9 * DAY]))
def test_an_erased_person_leaves_the_sums_and_no_name(
    data: st.DataObject, events: list[Json], who: str, later: float
) -> None:
    rules = open_rules()
    whole, _ = fold_all(events, rules=rules)
    erased, _ = fold_all([*events, erasure(who, AFTER_ALL)], rules=rules)
    replayed, _ = fold_all(data.draw(interleaved([*events, erasure(who, AFTER_ALL)])), rules=rules)
    now = max(newest(whole), newest(erased)) + later

    kept, ours, theirs = (scores_at(each.state, now, rules) for each in (whole, erased, replayed))

    for name in ("engagement", "engagement_minutes", "intent_surge"):
        assert abs(getattr(ours, name) - getattr(kept, name)) <= 1e-9, name
        assert abs(getattr(theirs, name) - getattr(kept, name)) <= 1e-9, name
    assert abs(ours.relationship - theirs.relationship) <= 1e-9
    for account in (erased, replayed):
        assert who not in account.state.contacts
        assert msgpack_text(who) not in encode_state(account.state)
        assert not [each for each in account.live.alerts if who in repr((each.why, each.sentence))]


def msgpack_text(text: str) -> Any:
    return bytes([0xA0 | len(text)]) + text.encode()
