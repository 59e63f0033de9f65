"""A shard's clocks: the event clock, and how far due instants go while records wait."""

from stream.decoding import NEVER
from stream.micro_batch import MAX_RECORDS
from stream.scorer import due_until, event_clock
from stream.shard import Shard
from stream.state_store import Fence

TOPICS = ("chats", "emails", "meetings")


def shard(read: dict[str, int], newest: dict[str, float], *, time: float | None = None) -> Shard:
    """Return a shard that has read to the offsets *read* and seen the times *newest*."""
    made = Shard(0, "me", Fence(0, read, time))
    made.newest.update(newest)
    return made


def test_lowest_time_of_the_topics_behind_counts() -> None:
    behind = shard(
        {"chats": 5, "emails": 5, "meetings": 9},
        {"chats": 300.0, "emails": 200.0, "meetings": 100.0},
    )

    assert event_clock(behind, TOPICS, {"chats": 9, "emails": 9, "meetings": 9}) == 200.0


def test_highest_time_counts_when_all_topics_are_read_to_their_end() -> None:
    at_end = shard({"chats": 9, "emails": 9}, {"chats": 300.0, "emails": 200.0})

    assert event_clock(at_end, TOPICS, {"chats": 9, "emails": 9, "meetings": 0}) == 300.0


def test_offset_past_the_end_last_heard_of_is_the_end() -> None:
    ahead = shard({"chats": 10, "emails": 9}, {"chats": 200.0, "emails": 300.0})

    assert event_clock(ahead, ["chats", "emails"], {"chats": 9, "emails": 9}) == 300.0


def test_topic_whose_end_is_unknown_is_not_read_to_it() -> None:
    unknown = shard({"chats": 9, "emails": 9}, {"chats": 300.0, "emails": 200.0})

    assert event_clock(unknown, ["chats", "emails"], {"chats": 9, "emails": None}) == 200.0
    assert event_clock(unknown, ["chats", "emails"], {"chats": 9}) == 200.0


def test_clock_waits_for_a_topic_behind_of_which_nothing_was_read() -> None:
    ends = {"chats": 9, "emails": 9, "meetings": 0}
    silent = shard({"chats": 5}, {"chats": 300.0})
    known = shard({"chats": 5}, {"chats": 300.0}, time=250.0)

    assert event_clock(silent, TOPICS, ends) is None
    assert event_clock(known, TOPICS, ends) == 250.0


def test_clock_of_empty_topics_is_unknown() -> None:
    assert event_clock(shard({}, {}), TOPICS, dict.fromkeys(TOPICS, 0)) is None


def test_clock_of_a_shard_claimed_at_its_end_stays() -> None:
    claimed = shard({"chats": 9}, {}, time=250.0)

    assert event_clock(claimed, ["chats"], {"chats": 9}) == 250.0


def test_clock_never_goes_back() -> None:
    behind = shard({"chats": 5}, {"chats": 200.0}, time=250.0)
    at_end = shard({"chats": 9}, {"chats": 200.0}, time=250.0)

    assert event_clock(behind, ["chats"], {"chats": 9}) == 250.0
    assert event_clock(at_end, ["chats"], {"chats": 9}) == 250.0


def test_clock_goes_on_with_newer_events() -> None:
    at_end = shard({"chats": 9}, {"chats": 300.0}, time=250.0)

    assert event_clock(at_end, ["chats"], {"chats": 9}) == 300.0


def test_times_before_1970_count_like_others() -> None:
    at_end = shard({"chats": 9}, {"chats": -5.0})

    assert event_clock(at_end, ["chats"], {"chats": 9}) == -5.0


def test_due_instants_go_up_to_now_when_little_waits() -> None:
    nearly = shard({"chats": 5, "emails": 9}, {"chats": 100.0})
    ends = {"chats": 5 + MAX_RECORDS, "emails": 9, "meetings": 0}

    assert due_until(nearly, TOPICS, ends, 900.0) == 900.0


def test_due_instants_do_not_pass_what_is_read_of_a_topic_far_behind() -> None:
    behind = shard({"chats": 5, "emails": 5}, {"chats": 300.0, "emails": 200.0})
    far = 6 + MAX_RECORDS

    assert due_until(behind, TOPICS, {"chats": far, "emails": 5, "meetings": 0}, 900.0) == 300.0
    assert due_until(behind, TOPICS, {"chats": far, "emails": far, "meetings": 0}, 900.0) == 200.0
    assert due_until(behind, TOPICS, {"chats": far, "emails": 5, "meetings": 0}, 250.0) == 250.0


def test_due_instants_wait_for_a_topic_of_which_nothing_was_read_or_heard() -> None:
    unread = shard({}, {"emails": 200.0})
    far = MAX_RECORDS + 1

    assert due_until(unread, TOPICS, {"chats": far, "emails": 0, "meetings": 0}, 900.0) == NEVER
    assert due_until(unread, ["chats"], {"chats": None}, 900.0) == NEVER
