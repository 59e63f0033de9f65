"""A shard in memory: what it seals into units, and what its cache forgets."""

from typing import Any

import pytest

from scoring.account import AccountState, encode_state
from scoring.fold import Account
from scoring.live import Transition
from stream.outputs import Announcement, encode_announcements
from stream.shard import CachedAccount, Shard, Unit, estimated_size
from stream.state_store import AccountWrite, Fence

NOW = 1_767_225_600.0


class Event:
    """A Faust event, as far as a shard cares."""


def new_shard(**offsets: int) -> Shard:
    return Shard(3, "me", Fence(seq=7, offsets=offsets, time=None))


def write(account: Account, now: float) -> tuple[AccountWrite, list[Announcement]]:
    """Write an account's id and the time, and nothing of its state."""
    account_id = account.state.account_id
    stored = AccountWrite(account_id, ["as_of", str(now)], b"x" * 100, (None, None, None))
    return stored, [Announcement("score-changes", account_id.encode(), b"{}")]


def touch(shard: Shard, *account_ids: str) -> None:
    """Change accounts, as folding would."""
    for account_id in account_ids:
        shard.open.dirty[account_id] = shard.admit(account_id, None)


def sealed(shard: Shard, now: float = NOW) -> Unit:
    unit = shard.seal(write, now)
    assert unit is not None
    return unit


def committed(shard: Shard, unit: Unit) -> None:
    """Note that *unit* is committed, as the committer does."""
    shard.committed_seq = unit.seq


def test_untouched_shard_has_nothing_to_seal() -> None:
    shard = new_shard(chats=5)

    assert shard.seal(write, NOW) is None
    assert shard.sealed_seq == 7


def test_unit_carries_the_offsets_folded_from_and_to() -> None:
    shard = new_shard(chats=5, emails=9)
    shard.offsets.update({"chats": 8, "meetings": 2})

    unit = sealed(shard)

    assert unit.commit.offsets == [("chats", 5, 8), ("meetings", None, 2)]


def test_next_unit_folds_from_where_the_last_one_ended_committed_or_not() -> None:
    shard = new_shard(chats=5)
    shard.offsets["chats"] = 8
    sealed(shard)
    shard.offsets["chats"] = 20

    assert sealed(shard).commit.offsets == [("chats", 8, 20)]


def test_units_are_numbered_one_after_the_other() -> None:
    shard = new_shard()
    units = []
    for offset in (1, 2, 3):
        shard.offsets["chats"] = offset
        units.append(sealed(shard))

    assert [unit.commit.expected_seq for unit in units] == [7, 8, 9]
    assert [unit.seq for unit in units] == [8, 9, 10]
    assert len({unit.commit.commit_id for unit in units}) == 3


def test_unit_names_shard_owner_and_time() -> None:
    shard = new_shard()
    shard.offsets["chats"] = 1
    shard.time = 12.5

    commit = sealed(shard).commit

    assert (commit.shard, commit.owner, commit.time) == (3, "me", 12.5)


def test_unit_takes_over_what_was_collected() -> None:
    shard = new_shard()
    opened = shard.open
    touch(shard, "a")
    opened.records = 4
    opened.events.append(Event())
    opened.stamps += [1, 2]
    opened.outcomes["chat", "scored"] += 4

    unit = sealed(shard)

    assert (unit.records, unit.events, unit.stamps) == (4, opened.events, [1, 2])
    assert unit.outcomes == {("chat", "scored"): 4}
    assert shard.open.records == 0
    assert [*shard.open.dirty, *shard.open.events, *shard.open.stamps] == []
    assert shard.seal(write, NOW) is None


def test_skipped_records_still_make_a_unit_so_that_they_are_acknowledged() -> None:
    shard = new_shard(chats=5)
    event: Any = Event()
    shard.open.events.append(event)

    unit = sealed(shard)

    assert unit.events == [event]
    assert unit.commit.offsets == []


def test_every_touched_account_is_written_and_announced_once() -> None:
    shard = new_shard()
    touch(shard, "a", "b", "a")

    commit = sealed(shard).commit

    assert [each.account_id for each in commit.accounts] == ["a", "b"]
    assert commit.announcement == encode_announcements(
        [Announcement("score-changes", each, b"{}") for each in (b"a", b"b")]
    )


def test_unit_without_accounts_announces_nothing() -> None:
    shard = new_shard()
    shard.offsets["chats"] = 1

    assert sealed(shard).commit.announcement is None


@pytest.mark.parametrize(
    ("instant", "written_as_of"), [(None, NOW), (NOW - 5, NOW), (NOW + 5, NOW + 5)]
)
def test_account_is_written_as_of_now_or_its_own_later_instant(
    instant: float | None, written_as_of: float
) -> None:
    shard = new_shard()
    touch(shard, "a")
    shard.accounts["a"].state.instant = instant

    assert sealed(shard).commit.accounts[0].fields == ["as_of", str(written_as_of)]


def test_announced_transitions_are_counted_by_rule() -> None:
    shard = new_shard()
    touch(shard, "a", "b")
    moved = Transition("id", "stage_changed", "target>engaged", NOW)
    surge = Transition("id", "surge_started", "pricing", NOW)
    shard.accounts["a"].live.announced = [moved, surge]
    shard.accounts["b"].live.announced = [moved]

    assert sealed(shard).rules == {"stage_changed": 2, "surge_started": 1}


def test_shard_is_idle_while_nothing_waits() -> None:
    shard = new_shard(chats=5)

    assert shard.idle


@pytest.mark.parametrize("what", ["offset", "account", "event"])
def test_shard_is_not_idle_until_what_was_folded_is_committed(what: str) -> None:
    shard = new_shard(chats=5)
    if what == "offset":
        shard.offsets["chats"] = 6
    elif what == "account":
        touch(shard, "a")
    else:
        shard.open.events.append(Event())
    seen = [shard.idle]
    unit = sealed(shard)
    seen.append(shard.idle)
    committed(shard, unit)

    assert [*seen, shard.idle] == [False, False, True]


def test_topic_never_read_starts_at_zero() -> None:
    shard = new_shard(chats=5)

    assert (shard.next_offset("chats"), shard.next_offset("emails")) == (5, 0)


def test_stored_account_is_admitted_as_it_was_stored() -> None:
    shard = new_shard()
    stored = encode_state(AccountState("a", stage="engaged"))

    account = shard.admit("a", stored)

    assert account.state.stage == "engaged"
    assert shard.accounts["a"] is account


def test_cached_account_is_not_replaced_by_the_stored_one() -> None:
    shard = new_shard()
    cached = shard.admit("a", None)
    held = shard.cached_bytes

    assert shard.admit("a", encode_state(AccountState("a", stage="engaged"))) is cached
    assert shard.cached_bytes == held


def fill(shard: Shard, *account_ids: str) -> dict[str, CachedAccount]:
    return {each: shard.admit(each, None) for each in account_ids}


ONE = estimated_size(0, 0)


def test_nothing_is_evicted_within_the_bound() -> None:
    shard = new_shard()
    fill(shard, "a", "b")

    shard.evict(2 * ONE)

    assert list(shard.accounts) == ["a", "b"]


def test_no_more_is_evicted_than_the_bound_asks_for() -> None:
    shard = new_shard()
    fill(shard, "a", "b", "c")

    shard.evict(2 * ONE)

    assert list(shard.accounts) == ["b", "c"]
    assert shard.cached_bytes == 2 * ONE


def test_longest_untouched_accounts_are_evicted_first() -> None:
    shard = new_shard()
    fill(shard, "a", "b", "c")
    touch(shard, "a")
    committed(shard, sealed(shard))

    shard.evict(estimated_size(100, 0))

    assert list(shard.accounts) == ["a"]


def test_accounts_that_changed_are_not_evicted() -> None:
    shard = new_shard()
    fill(shard, "a", "b")
    touch(shard, "a")

    shard.evict(0)

    assert list(shard.accounts) == ["a"]


def test_accounts_that_wait_for_their_commit_are_not_evicted() -> None:
    shard = new_shard()
    touch(shard, "a")
    first = sealed(shard)
    touch(shard, "b")
    second = sealed(shard)
    committed(shard, first)
    shard.evict(0)
    kept = list(shard.accounts)
    committed(shard, second)
    shard.evict(0)

    assert (kept, list(shard.accounts)) == (["b"], [])
    assert shard.cached_bytes == 0


def test_account_sealed_twice_waits_for_the_later_commit() -> None:
    shard = new_shard()
    touch(shard, "a")
    first = sealed(shard)
    touch(shard, "a")
    sealed(shard)
    committed(shard, first)

    shard.evict(0)

    assert list(shard.accounts) == ["a"]


def test_account_is_measured_anew_when_it_is_written() -> None:
    shard = new_shard()
    touch(shard, "a", "b")
    shard.accounts["a"].seen.days = {(0, 1): {1, 2}, (0, 2): {3}}

    sealed(shard)

    assert shard.cached_bytes == estimated_size(100, 3) + estimated_size(100, 0)
    assert shard.accounts["a"].size == estimated_size(100, 3)
