"""Waiting for a server, on a loop whose clock jumps to the next thing to do."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from stream.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff
from stream.errors import Unreachable

T = TypeVar("T")


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: when nothing is ready, it is later at once."""

    _now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        loop: Any = self
        if loop._scheduled and not loop._ready:
            self._now = max(self._now, loop._scheduled[0].when())
        super()._run_once()  # type: ignore[misc]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(coroutine)


class Server:
    """A server that is away for *failures* calls and until a time; it notes when it was called."""

    def __init__(self, failures: int = 0, *, until: float = 0.0) -> None:
        self.failures = failures
        self.until = until
        self.called_at: list[float] = []

    async def call(self) -> str:
        now = asyncio.get_running_loop().time()
        self.called_at.append(now)
        if self.failures or now < self.until:
            self.failures = max(0, self.failures - 1)
            raise Unreachable("The server does not answer.")
        return "answer"

    @property
    def waits(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.called_at)]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def backoff(said: list[str]) -> Backoff:
    return Backoff(said.append, name="The server")


def test_answer_of_a_server_that_is_there_is_returned_in_silence(
    backoff: Backoff, said: list[str]
) -> None:
    assert run(backoff.answered(Server(0).call)) == "answer"
    assert said == []


def test_server_is_called_until_it_answers(backoff: Backoff) -> None:
    server = Server(7)

    assert run(backoff.answered(server.call)) == "answer"
    assert len(server.called_at) == 8


def test_one_line_says_that_it_is_away_and_one_that_it_is_back(
    backoff: Backoff, said: list[str]
) -> None:
    run(backoff.answered(Server(7).call))

    assert said == [
        "The server does not answer. Waiting for it; nothing is lost.",
        "The server is back.",
    ]


def test_callers_that_share_a_backoff_say_it_once(backoff: Backoff, said: list[str]) -> None:
    server = Server(until=20.0)

    async def call_together() -> list[str]:
        return await asyncio.gather(*(backoff.answered(server.call) for _ in range(5)))

    assert run(call_together()) == ["answer"] * 5
    assert said == [
        "The server does not answer. Waiting for it; nothing is lost.",
        "The server is back.",
    ]


def test_waits_double_up_to_a_bound_with_jitter(backoff: Backoff) -> None:
    server = Server(12)

    run(backoff.answered(server.call))

    longest = [min(LONGEST_SECONDS, FIRST_SECONDS * 2**n) for n in range(1, 13)]
    shares = [wait / most for wait, most in zip(server.waits, longest, strict=True)]
    assert 0.5 - 1e-9 <= min(shares) < 0.99
    assert max(shares) <= 1 + 1e-9


def test_waits_start_short_again_after_an_answer(backoff: Backoff) -> None:
    server = Server(12)
    run(backoff.answered(server.call))
    again = Server(1)

    run(backoff.answered(again.call))

    assert again.waits[0] <= 2 * FIRST_SECONDS + 1e-9


def test_backoff_knows_that_the_server_is_away(backoff: Backoff) -> None:
    async def away_while_waiting() -> list[bool]:
        seen = [backoff.away]
        waiting = asyncio.create_task(backoff.answered(Server(1).call))
        await asyncio.sleep(0)
        seen.append(backoff.away)
        await waiting
        return [*seen, backoff.away]

    assert run(away_while_waiting()) == [False, True, False]


def test_other_errors_are_not_waited_for(backoff: Backoff, said: list[str]) -> None:
    async def call() -> None:
        raise ValueError("wrong")

    failing: Callable[[], Awaitable[None]] = call
    with pytest.raises(ValueError, match="wrong"):
        run(backoff.answered(failing))
    assert said == []


def test_server_that_answers_some_and_refuses_others_is_not_back(
    backoff: Backoff, said: list[str]
) -> None:
    async def refused_while_watched() -> bool:
        refused = asyncio.create_task(backoff.answered(Server(until=20.0).call))
        while not refused.done():
            await asyncio.sleep(2.0)
            backoff.succeeded()
        return backoff.away

    assert run(refused_while_watched()) is False
    assert len(said) == 2


def test_success_without_a_failure_says_nothing(backoff: Backoff, said: list[str]) -> None:
    backoff.succeeded()

    assert said == []
