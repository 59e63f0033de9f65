"""What is told to those who listen: everything to the quick, the newest to the slow."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from stream.board.broadcast import (
    MOST_ALERTS,
    MOST_CLIENTS_EACH,
    MOST_SCORES,
    Broadcast,
    Client,
    events_of,
)
from stream.board.intake import one_line
from stream.web.problems import Problem
from tests.system.harness import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def waiting(client: Client) -> str:
    return (await client.next_events(0.0)).decode()


def event_ids(text: str) -> list[str]:
    return re.findall("^id: (.*)$", text, flags=re.MULTILINE)


async def test_each_listener_gets_what_happens() -> None:
    broadcast = Broadcast()
    with broadcast.listening(None, "a", None) as one, broadcast.listening(None, "b", None) as two:
        broadcast.scores("acme", b'{"x":1}')

        assert await waiting(one) == await waiting(two) == 'event: scores\ndata: {"x":1}\n\n'
        assert await waiting(one) == ""


async def test_of_several_changes_of_an_account_the_last_is_told() -> None:
    broadcast = Broadcast()
    with broadcast.listening(None, "a", None) as client:
        for number in range(3):
            broadcast.scores("acme", b"%d" % number)

        assert await waiting(client) == "event: scores\ndata: 2\n\n"


async def test_alerts_come_first_and_all_of_them() -> None:
    broadcast = Broadcast()
    with broadcast.listening(None, "a", None) as client:
        broadcast.scores("acme", b"s")
        broadcast.alert("acme", b"1")
        broadcast.alert("acme", b"2")

        found = re.findall("^data: (.*)$", await waiting(client), flags=re.MULTILINE)

    assert found == ["1", "2", "s"]


async def test_listener_of_one_account_gets_nothing_of_others() -> None:
    broadcast = Broadcast()
    with broadcast.listening("acme", "a", None) as client:
        broadcast.scores("beta", b"s")
        broadcast.alert("beta", b"1")
        assert await waiting(client) == ""

        broadcast.alert("acme", b"2")
        assert "data: 2" in await waiting(client)


async def test_slow_listener_loses_the_oldest_score_changes_and_no_alert() -> None:
    broadcast = Broadcast()
    with broadcast.listening(None, "a", None) as client:
        for number in range(MOST_SCORES + 1):
            broadcast.scores(f"account-{number}", b"%d" % number)
        broadcast.alert("acme", b"alert")

        text = await waiting(client)

    assert text.count("event: scores") == MOST_SCORES
    assert "data: 0\n" not in text
    assert "data: alert\n" in text


async def test_listener_who_takes_no_alerts_at_all_is_let_go() -> None:
    broadcast = Broadcast()
    with broadcast.listening(None, "a", None) as client:
        for _ in range(MOST_ALERTS):
            broadcast.alert("acme", b"1")
        assert not client.lost

        broadcast.alert("acme", b"1")

        assert client.lost


async def test_listener_who_comes_back_gets_the_alerts_that_it_missed() -> None:
    broadcast = Broadcast()
    with broadcast.listening(None, "a", None) as client:
        for number in range(3):
            broadcast.alert("acme", b"%d" % number)
        first, *missed = event_ids(await waiting(client))

    with broadcast.listening(None, "a", first) as client:
        assert event_ids(await waiting(client)) == missed


@pytest.mark.parametrize("last_id", [None, "", "7", "other-1", "-", "x" * 9_000, "²"])
async def test_listener_with_an_id_of_somebody_else_starts_anew(last_id: str | None) -> None:
    broadcast = Broadcast()
    broadcast.alert("acme", b"1")

    with broadcast.listening(None, "a", last_id) as client:
        assert await waiting(client) == ""


async def test_one_who_opens_too_many_streams_is_refused() -> None:
    broadcast = Broadcast()
    opened = [broadcast.listening(None, "a", None) for _ in range(MOST_CLIENTS_EACH)]
    for each in opened:
        each.__enter__()

    with pytest.raises(Problem) as refused:
        broadcast.check_room("a")
    assert refused.value.status == 429
    broadcast.check_room("b")

    opened[0].__exit__(None, None, None)
    broadcast.check_room("a")


async def test_stream_begins_with_a_beat_and_ends_when_all_do() -> None:
    broadcast = Broadcast()
    with broadcast.listening(None, "a", None) as client:
        events: AsyncIterator[bytes] = events_of(client, lambda: 0.0)

        assert b'event: beat\ndata: {"at":"1970-01-01T00:00:00Z"}\n\n' in await anext(events)
        broadcast.alert("acme", b"1")
        assert b"data: 1" in await anext(events)
        broadcast.close()
        async with asyncio.timeout(PATIENCE * 5.0):
            rest = [each async for each in events]

    assert len(rest) <= 1


@pytest.mark.parametrize(
    ("value", "line"), [(b'{"a":1}', b'{"a":1}'), (b'{\n"a":\r\n1}', b'{"a":1}')]
)
def test_json_of_several_lines_becomes_one(value: bytes, line: bytes) -> None:
    assert one_line(value) == line
