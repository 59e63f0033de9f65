"""The account state: its day series, and how it is stored."""

import msgspec
import pytest

from scoring.account import (
    CHANNEL_CODES,
    CHANNELS,
    FORMAT,
    AccountState,
    Contact,
    DaySeries,
    add_on_day,
    decode_state,
    encode_state,
    on_day,
    over_days,
    utc_day,
)
from scoring.errors import UnknownState
from tests.builders import fold_all
from tests.strategies import event


@pytest.mark.parametrize(
    ("time", "day"), [(0.0, 0), (86_399.999, 0), (86_400.0, 1), (-0.001, -1), (-86_400.0, -1)]
)
def test_a_day_begins_at_utc_midnight(time: float, day: int) -> None:
    assert utc_day(time) == day


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (11, [10, 1, 7]),  # within
        (12, [10, 1, 2, 5]),  # the day after
        (14, [10, 1, 2, 0, 0, 5]),  # later, with quiet days between
        (15, [11, 2, 0, 0, 0, 5]),  # so late that the first of five days goes
        (16, [12, 0, 0, 0, 0, 5]),  # both go, their days stay within reach
        (17, [17, 5]),  # everything known is out of reach
        (9, [9, 5, 1, 2]),  # before the first
        (7, [7, 5, 0, 0, 1, 2]),  # as far back as five days reach
        (6, [10, 1, 2]),  # and beyond: left out
    ],
)
def test_a_day_series_keeps_about_its_newest_days(day: int, expected: DaySeries) -> None:
    series: DaySeries = [10, 1, 2]

    add_on_day(series, day, 5, keep_days=5)

    assert series == expected


@pytest.mark.parametrize(("day", "value"), [(9, 0), (10, 1), (12, 4), (13, 0)])
def test_a_day_outside_a_series_counts_nothing(day: int, value: int) -> None:
    assert on_day([10, 1, 2, 4], day) == value


def test_a_series_that_does_not_exist_counts_nothing() -> None:
    assert on_day(None, 10) == 0


@pytest.mark.parametrize(
    ("first", "last", "total"),
    [(10, 12, 7), (0, 99, 7), (11, 11, 2), (0, 10, 1), (12, 99, 4), (0, 9, 0), (13, 99, 0)],
)
def test_a_sum_over_days_includes_both_ends(first: int, last: int, total: int) -> None:
    assert over_days([10, 1, 2, 4], first, last) == total


def test_new_accounts_share_nothing() -> None:
    first, second = AccountState("a"), AccountState("b")

    first.counts["*"] = [1, 2]
    first.surging.append("*")

    assert (second.counts, second.surging) == ({}, [])


def test_a_state_is_read_as_it_was_written() -> None:
    account, _ = fold_all(
        [
            event("account", 0, action="upserted", target=True, tier=2, domains=["x.example"]),
            event("contact", 0, action="upserted", contact_id="ann", seniority="vp"),
            event("page_visit", 1, url="https://x/pricing", contact_id="ann", duration_seconds=9),
            event("email", 1, action="sent", direction="inbound", contact_id="ann"),
            event("opportunity", 2, action="opened", opportunity_id="o", kind="new"),
        ]
    )

    read = decode_state(encode_state(account.state))

    assert read == account.state
    assert isinstance(read.contacts["ann"], type(account.state.contacts["ann"]))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"nonsense", b"\x80", b"\x91\x01"])
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(UnknownState, match="cannot be read"):
        decode_state(data)


def test_a_state_of_the_first_format_is_read_with_seniorities_as_codes() -> None:
    old = AccountState("acme", contacts={"ann": Contact(seniority=1), "bob": Contact()})
    array = msgspec.msgpack.decode(encode_state(old))
    array[1], array[4]["ann"][3] = 1, "vp"

    read = decode_state(msgspec.msgpack.encode(array))

    assert read == old
    assert read.format == FORMAT == 4


def test_a_state_of_the_second_format_is_read_without_cooldowns_and_highs() -> None:
    old = AccountState("acme", events=3, engaged=True)
    array = msgspec.msgpack.decode(encode_state(old))[:-5]
    array[1] = 2

    read = decode_state(msgspec.msgpack.encode(array))

    assert read == old
    assert (read.format, read.alerted, read.highs) == (FORMAT, {}, [])


def test_a_state_of_the_third_format_is_read_without_noise() -> None:
    old = AccountState("acme", events=3, alerted={"p": 1.0}, highs=[1, 2.0])
    array = msgspec.msgpack.decode(encode_state(old))[:-3]
    array[1] = 3

    read = decode_state(msgspec.msgpack.encode(array))

    assert read == old
    assert (read.format, read.noise, read.emails, read.ledger) == (FORMAT, {}, {}, None)


def test_a_state_of_a_format_before_the_first_is_refused() -> None:
    with pytest.raises(UnknownState, match="acme is stored in format 0"):
        decode_state(encode_state(AccountState("acme", format=0)))


def test_a_damaged_state_of_the_first_format_is_refused() -> None:
    with pytest.raises(UnknownState, match="cannot be read"):
        decode_state(msgspec.msgpack.encode(["acme", 1, None, None, {"ann": [{}, 0, 0, "boss"]}]))


def test_a_state_of_another_format_is_refused_by_name() -> None:
    newer = AccountState("acme", format=FORMAT + 1)

    with pytest.raises(UnknownState, match=f"acme is stored in format {FORMAT + 1}"):
        decode_state(encode_state(newer))


def test_a_state_with_fields_that_came_later_is_still_refused_by_its_format() -> None:
    longer = msgspec.msgpack.decode(encode_state(AccountState("acme", format=FORMAT + 1)))

    with pytest.raises(UnknownState, match="format"):
        decode_state(msgspec.msgpack.encode([*longer, "a field of tomorrow"]))


def test_the_codes_of_channels_are_their_places_in_stored_states() -> None:
    # Changing any of these makes stored states say something else.
    assert [CHANNEL_CODES[name] for name in CHANNELS] == list(range(11))
    assert CHANNELS[:6] == ("ad", "page_visit", "chat", "email", "meeting", "intent")
