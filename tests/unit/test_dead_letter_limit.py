"""The dead-letter limit: which streams of bad records stop a worker, and which do not."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pytest

from stream.dead_letter_limit import DeadLetterCount, DeadLetterLimit, Excess, sentence

LIMIT = DeadLetterLimit(share=0.5, window=100, in_a_row=20)


class At(NamedTuple):
    """A record, as far as counting looks at it."""

    offset: int


def noted(
    count: DeadLetterCount,
    offsets: Iterable[int],
    dead: Iterable[int] | Mapping[int, str] = (),
    *,
    partition: int = 0,
    limit: DeadLetterLimit = LIMIT,
) -> Excess | None:
    reasons = dead if isinstance(dead, Mapping) else dict.fromkeys(dead, "not_json")
    run = count.note(partition, [At(offset) for offset in offsets], reasons)
    return limit.excess(count, run)


def every(nth: int, of: range) -> list[int]:
    return [offset for offset in of if offset % nth == 0]


def test_share_above_the_limit_stops() -> None:
    excess = noted(DeadLetterCount(100), range(100), [n for n in range(100) if n % 5 < 3])

    assert excess == Excess(
        60, 100, in_a_row=False, reason="not_json", times=60, partition=0, offset=97
    )


def test_share_at_the_limit_goes_on() -> None:
    assert noted(DeadLetterCount(100), range(100), every(2, range(100))) is None


def test_share_of_fewer_records_than_the_window_says_nothing() -> None:
    assert noted(DeadLetterCount(100), range(99), [n for n in range(99) if n % 10]) is None


def test_small_poison_share_never_stops() -> None:
    count = DeadLetterCount(100)

    found = [
        noted(count, of, every(20, of)) for n in range(200) if (of := range(n * 37, n * 37 + 37))
    ]

    assert found == [None] * 200


def test_share_is_that_of_all_partitions_together() -> None:
    count, bad = DeadLetterCount(100), [n for n in range(60) if n % 10]

    found = [
        noted(count, range(60), bad, partition=1),
        noted(count, range(60), partition=2),
        noted(count, range(60, 120), [n + 60 for n in bad], partition=1),
    ]

    assert found[:2] == [None, None]
    assert found[2] is None  # the window holds the good batch still
    assert noted(count, range(60, 120), [n + 60 for n in bad], partition=2) is not None


def test_old_records_leave_the_window() -> None:
    count = DeadLetterCount(100)
    noted(count, range(90), [n for n in range(90) if n % 10])
    for begin in range(90, 490, 100):
        noted(count, range(begin, begin + 100))

    of = range(490, 590)

    assert noted(count, of, [n for n in of if n % 5 < 2]) is None
    assert (count.records, count.reasons.total()) == (100, 40)


def test_row_longer_than_the_limit_stops() -> None:
    excess = noted(DeadLetterCount(100), range(40), range(10, 31))

    assert excess == Excess(
        21, 21, in_a_row=True, reason="not_json", times=21, partition=0, offset=30
    )


def test_row_of_the_limit_goes_on() -> None:
    assert noted(DeadLetterCount(100), range(40), range(10, 30)) is None


def test_row_goes_on_over_micro_batches() -> None:
    count = DeadLetterCount(100)

    found = [noted(count, range(n, n + 7), range(n, n + 7)) for n in (0, 7, 14)]

    assert found[:2] == [None, None]
    assert found[2] is not None
    assert found[2].records == 21


def test_good_record_ends_a_row() -> None:
    count = DeadLetterCount(100)
    noted(count, range(20), range(20))
    noted(count, [20])

    assert noted(count, range(21, 40), range(21, 40)) is None


def test_other_partitions_do_not_end_a_row() -> None:
    count = DeadLetterCount(100)
    noted(count, range(20), range(20), partition=1)
    noted(count, range(50), partition=2)

    assert noted(count, [20], [20], partition=1) is not None


def test_row_that_ended_within_a_micro_batch_stops_all_the_same() -> None:
    assert noted(DeadLetterCount(100), range(90), range(30)) is not None


def test_records_read_again_are_not_counted_again() -> None:
    count = DeadLetterCount(100)
    noted(count, range(15), range(15))

    assert noted(count, range(15), range(15)) is None
    assert count.records == 15


def test_holes_between_offsets_do_not_end_a_row() -> None:
    offsets = range(0, 63, 3)

    assert noted(DeadLetterCount(100), offsets, offsets) is not None


@pytest.mark.parametrize(
    "limit",
    [
        DeadLetterLimit(share=0.0, window=100, in_a_row=0),
        DeadLetterLimit(share=1.0, window=100, in_a_row=0),
    ],
    ids=["0 is off", "1 is never passed"],
)
def test_limit_can_be_switched_off(limit: DeadLetterLimit) -> None:
    assert noted(DeadLetterCount(100), range(1_000), range(1_000), limit=limit) is None


def test_most_frequent_reason_is_told_with_its_newest_example() -> None:
    bad = dict.fromkeys(range(30), "not_json") | {7: "bad_time", 29: "empty_value"}

    excess = noted(DeadLetterCount(100), range(30), bad, partition=3)

    assert excess is not None
    assert (excess.reason, excess.times, excess.partition, excess.offset) == ("not_json", 28, 3, 28)


def test_sentence_says_topic_numbers_reason_example_and_what_to_do() -> None:
    excess = Excess(
        1_612, 2_000, in_a_row=False, reason="not_json", times=1_580, partition=3, offset=4711
    )

    assert sentence(excess, "eu.page-visits", LIMIT) == (
        "Topic eu.page-visits: 1,612 of its last 2,000 records are bad, most often not_json (1,580 "
        "times, the newest eu.page-visits/3 at offset 4711), more than "
        "SURGELINE_DEAD_LETTER_SHARE=0.5 allows. They stay in their topic. Repair what produces "
        "them, or let them pass into dead-letters by one start with SURGELINE_DEAD_LETTER_SHARE=0; "
        "`surgeline dead-letters replay` brings them back from there."
    )


def test_sentence_of_a_row_names_its_own_setting() -> None:
    said = sentence(
        Excess(21, 21, in_a_row=True, reason="bad_time", times=21, partition=0, offset=30),
        "emails",
        LIMIT,
    )

    assert "Topic emails: 21 of 21 records in a row are bad" in said
    assert "SURGELINE_DEAD_LETTERS_IN_A_ROW=0" in said
