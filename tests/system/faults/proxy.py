"""A network between a worker and Redis that fails on demand, at an exact moment."""

import contextlib
import socket
import threading
import urllib.parse
from collections.abc import Callable
from types import TracebackType
from typing import Self

APPLIED = b"*1\r\n$7\r\napplied"
ALREADY = b"*1\r\n$7\r\nalready"
COMMIT = b":top:engagement"
"""What only the keys of a commit contain."""
CHUNK = 65_536
LOOPBACK = "127.0.0.1"


class Proxy:
    """Forwards connections to the Redis at *url*; a `with` block starts and ends it.

    It loses what it is told to lose, holds everything back while it stalls, and refuses
    connections while it is down.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._target = parts.hostname or LOOPBACK, parts.port or 6379
        self._listener = _listening(0)
        self._port: int = self._listener.getsockname()[1]
        self.url = parts._replace(netloc=f"{LOOPBACK}:{self._port}").geturl()
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._links: set[tuple[socket.socket, socket.socket]] = set()
        self._replies_to_lose = 0
        self._requests_to_lose = 0
        self.lost_replies = 0
        """Commits that were applied, and whose reply nobody got."""
        self.lost_requests = 0
        """Commits of which Redis got the first half."""
        self.already = 0
        """Commits that were sent again and had been applied before."""

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.refuse()
        self._flows.set()

    def lose_replies(self, count: int) -> None:
        """Cut the connection between each of the next *count* commits and its reply."""
        with self._lock:
            self._replies_to_lose = count

    def lose_requests(self, count: int) -> None:
        """Cut the connection in the middle of each of the next *count* commits."""
        with self._lock:
            self._requests_to_lose = count

    def stall(self) -> None:
        """Take connections and bytes, and pass nothing on."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass on what was held back, and all that comes."""
        self._flows.set()

    def refuse(self) -> None:
        """Cut all connections and refuse new ones."""
        _close(self._listener)
        with self._lock:
            links = list(self._links)
        for link in links:
            _close(*link)

    def accept(self) -> None:
        """Take connections again."""
        self._listener = _listening(self._port)
        self._listen()

    def _listen(self) -> None:
        threading.Thread(target=self._accept_all, args=(self._listener,), daemon=True).start()

    def _accept_all(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # of its end
            while True:
                client, _ = listener.accept()
                self._link(client)

    def _link(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            _close(client)
            return
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._links.add((client, server))
        for source, sink, passed in (
            (client, server, self._request),
            (server, client, self._reply),
        ):
            threading.Thread(
                target=self._pump, args=(source, sink, (client, server), passed), daemon=True
            ).start()

    def _pump(
        self,
        source: socket.socket,
        sink: socket.socket,
        link: tuple[socket.socket, socket.socket],
        passed: Callable[[bytes], tuple[bytes, bool]],
    ) -> None:
        with contextlib.suppress(OSError):  # either side may go at any time
            cut = False
            while not cut and (data := source.recv(CHUNK)):
                data, cut = passed(data)
                self._flows.wait()
                sink.sendall(data)
        _close(*link)
        with self._lock:
            self._links.discard(link)

    def _request(self, data: bytes) -> tuple[bytes, bool]:
        """Return what Redis gets of *data*, and whether the connection ends with it."""
        with self._lock:
            if not self._requests_to_lose or COMMIT not in data:
                return data, False
            self._requests_to_lose -= 1
            self.lost_requests += 1
        return data[: len(data) // 2], True

    def _reply(self, data: bytes) -> tuple[bytes, bool]:
        """Return what the worker gets of *data*, and whether the connection ends with it."""
        with self._lock:
            self.already += data.startswith(ALREADY)
            if not self._replies_to_lose or not data.startswith((APPLIED, ALREADY)):
                return data, False
            self._replies_to_lose -= 1
            self.lost_replies += 1
        return b"", True


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((LOOPBACK, port))
    listener.listen()
    return listener


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):  # it need not be connected any more
            each.shutdown(socket.SHUT_RDWR)
        each.close()
