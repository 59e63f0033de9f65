"""The board as a process, asked over HTTP like anybody would."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from tests.place import Worker
from tests.system.harness import Json, eventually

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
ANSWER_SECONDS = 20.0


class Board:
    """A `surgeline board` on a leash, so that it ends with the tests however they end."""

    def __init__(self, env: Mapping[str, str], log: Path, *options: str) -> None:
        log.with_suffix(".port").unlink(missing_ok=True)
        self._process = Worker(dict(env) | {"SURGELINE_BOARD_PORT": "0"}, log, "board", *options)
        self._port_file = log.with_suffix(".port")
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
        self._process.close()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.exit_code

    @property
    def url(self) -> str:
        """Return its address; waits until it listens."""
        listens = eventually(
            lambda: self._port_file.exists() or self.exit_code is not None,
            within_seconds=READY_SECONDS,
        )
        assert listens, self.log()
        assert self.exit_code is None, self.log()
        return self._process.url

    @property
    def client(self) -> httpx.Client:
        """Return a client of it."""
        if self._client is None:
            self._client = httpx.Client(base_url=self.url, timeout=ANSWER_SECONDS)
        return self._client

    def wait_ready(self) -> Self:
        """Wait until it is ready."""
        client = self.client
        ready = eventually(
            lambda: self.exit_code is not None or client.get("/readyz").status_code == 200,
            within_seconds=READY_SECONDS,
        )
        assert ready, f"{client.get('/readyz').text}\n{self.log()}"
        assert self.exit_code is None, self.log()
        return self

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Return the answer at *path*."""
        return self.client.get(path, headers=headers)

    def json(self, path: str, **query: Any) -> Json:
        """Return the object at *path*, which must be there."""
        answer = self.client.get(f"/api/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def log(self) -> str:
        """Return what it has logged so far."""
        return self._process.log()

    def terminate(self) -> int:
        """End it by SIGTERM; return its exit code."""
        return self._process.terminate(within_seconds=STOP_SECONDS)


@contextlib.contextmanager
def event_stream(board: Board, **query: str) -> Iterator[Iterator[tuple[str, str]]]:
    """Open the stream; within, iterate over (event, data)."""
    with board.client.stream("GET", "/api/v1/stream", params=query) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, value
