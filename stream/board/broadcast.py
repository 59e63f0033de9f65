"""What happens, told to every client that listens; a slow one cannot hold up anybody."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeAlias

import msgspec

from scoring.report import rfc3339
from stream.web.problems import Problem

BEAT_SECONDS: Final = 10.0
BETWEEN_SECONDS: Final = 0.1
"""Between two writes to a client; score changes of an account in between become one."""
MOST_SCORES: Final = 1_000
"""Accounts whose change waits for a client; the longest waiting is dropped."""
MOST_ALERTS: Final = 1_000
"""A client for which more alerts wait is let go: they are never dropped."""
MOST_CLIENTS: Final = 200
MOST_CLIENTS_EACH: Final = 20
"""Of one token, or address where there are none."""
REMEMBERED: Final = 1_000
"""Alerts that a client gets which comes back and says the last one that it had."""

Listening: TypeAlias = dict["Client", str]

_encode = msgspec.json.Encoder().encode


class _Sent(NamedTuple):
    number: int
    account_id: str
    event: bytes


class Client:
    """One listener and what waits for it."""

    def __init__(self, account: str | None) -> None:
        self.account = account
        self.lost = False
        """Nothing more is sent to it."""
        self._scores: dict[str, bytes] = {}
        self._alerts: deque[bytes] = deque()
        self._woken = asyncio.Event()

    def wants(self, account_id: str) -> bool:
        """Tell whether it listens to the account."""
        return self.account in (None, account_id)

    def add_scores(self, account_id: str, event: bytes) -> None:
        """Let *event* wait, in place of an earlier one of its account."""
        if account_id not in self._scores and len(self._scores) >= MOST_SCORES:
            del self._scores[next(iter(self._scores))]
        self._scores[account_id] = event
        self._woken.set()

    def add_alert(self, event: bytes) -> None:
        """Let *event* wait; the client is lost when too many do."""
        self._alerts.append(event)
        if len(self._alerts) > MOST_ALERTS:
            self.leave()
        self._woken.set()

    def leave(self) -> None:
        """End the stream."""
        self.lost = True
        self._woken.set()

    async def next_events(self, within_seconds: float) -> bytes:
        """Return what waits, alerts first; nothing when nothing came in time."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._woken.wait()
        except TimeoutError:
            return b""
        self._woken.clear()
        events = b"".join((*self._alerts, *self._scores.values()))
        self._alerts.clear()
        self._scores.clear()
        return events


class Broadcast:
    """All listeners."""

    def __init__(self) -> None:
        self._clients: Listening = {}
        self._era = secrets.token_hex(4)
        """Event ids of another process mean nothing here."""
        self._number = 0
        self._recent: deque[_Sent] = deque(maxlen=REMEMBERED)

    def __len__(self) -> int:
        return len(self._clients)

    def scores(self, account_id: str, data: bytes) -> None:
        """Tell of a message of `score-changes`, *data* being its JSON on one line."""
        event: bytes | None = None
        for client in self._clients:
            if client.wants(account_id):
                event = event or b"event: scores\ndata: %b\n\n" % data
                client.add_scores(account_id, event)

    def alert(self, account_id: str, data: bytes) -> None:
        """Tell of an alert, *data* being its JSON on one line."""
        self._number += 1
        event_id = f"{self._era}-{self._number}".encode()
        event = b"id: %b\nevent: alert\ndata: %b\n\n" % (event_id, data)
        self._recent.append(_Sent(self._number, account_id, event))
        for client in [each for each in self._clients if each.wants(account_id)]:
            client.add_alert(event)

    @contextmanager
    def listening(self, account: str | None, who: str, last_id: str | None) -> Iterator[Client]:
        """Add a client for the block; it first gets the alerts after *last_id*, if it is ours.

        Raises Problem when too many listen.
        """
        self.check_room(who)
        client = Client(account)
        for sent in self._missed(last_id):
            if client.wants(sent.account_id):
                client.add_alert(sent.event)
        self._clients[client] = who
        try:
            yield client
        finally:
            self._clients.pop(client, None)

    def check_room(self, who: str) -> None:
        """Raise Problem when no further client of *who* may listen."""
        own = sum(each == who for each in self._clients.values())
        if own >= MOST_CLIENTS_EACH or len(self._clients) >= MOST_CLIENTS:
            raise Problem(
                429,
                "Too many streams are open; close one, or read /api/v1/accounts now and then.",
                headers={"Retry-After": "10"},
            )

    def close(self) -> None:
        """End all streams."""
        for client in self._clients:
            client.leave()

    def _missed(self, last_id: str | None) -> list[_Sent]:
        era, _, number = (last_id or "").partition("-")
        if era != self._era or not (number.isascii() and number.isdigit() and len(number) < 19):
            return []
        return [sent for sent in self._recent if sent.number > int(number)]


async def events_of(client: Client, now: Callable[[], float]) -> AsyncIterator[bytes]:
    """Yield what *client* is sent until it is lost, a beat at least every ten seconds.

    *now* is the clock in force, Unix seconds.
    """
    yield b"retry: 3000\n\n" + _beat(now())
    while not client.lost:
        yield await client.next_events(BEAT_SECONDS) or _beat(now())
        await asyncio.sleep(BETWEEN_SECONDS)


def _beat(now: float) -> bytes:
    return b"event: beat\ndata: %b\n\n" % _encode({"at": rfc3339(now)})
