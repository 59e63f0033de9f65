"""A partition of `alerts` while this process has it: how far it is done, and what works on it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from stream.notify.memory import Memory

Key = tuple[str, str]
"""An endpoint: route and address."""

NEVER: Final = -1


class Partition:
    """Knows which offsets are not done, so that none of them is ever passed by a commit.

    An endpoint that cannot keep up is `behind`: what it has not taken is read again later, so
    that neither memory grows nor another endpoint waits.
    """

    def __init__(self, number: int, *, on_fault: Callable[[BaseException], None]) -> None:
        self.number = number
        self._on_fault = on_fault
        self.memory = Memory()
        self.position = NEVER
        """The next offset to be read."""
        self.behind: dict[Key, int] = {}
        """Endpoint -> the first offset that it has not taken."""
        self.ready = False
        self.closed = False
        self._pending: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[Any]] = set()

    def begin(self, offset: int) -> None:
        """Note that somebody works on the record at *offset*."""
        self._pending[offset] = self._pending.get(offset, 0) + 1

    def finish(self, offset: int) -> None:
        """Note that one of those is done with it."""
        left = self._pending[offset] - 1
        if left:
            self._pending[offset] = left
        else:
            del self._pending[offset]

    @property
    def low(self) -> int:
        """Return the offset up to which all is done, NEVER before the first record."""
        return min((self.position, *self._pending, *self.behind.values()))

    def run(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run *work* until it ends or the partition is closed."""
        task = watched(work, self._on_fault)
        self.adopt(task)
        return task

    def adopt(self, task: "asyncio.Task[None]") -> None:
        """Count *task* among those that a close ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Let the current task come to the end of what must not be cut in two."""
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            yield
        finally:
            self._busy.discard(task)

    def close(self) -> "set[asyncio.Task[Any]]":
        """End what waits; return the tasks that are busy, and end by themselves."""
        self.closed = True
        busy = set(self._busy)
        for task in self._tasks - busy:
            task.cancel()
        return busy


def watched(
    work: Coroutine[Any, Any, None], on_fault: Callable[[BaseException], None]
) -> "asyncio.Task[None]":
    """Run *work* as a task; what it raises goes to *on_fault*."""

    def look(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            on_fault(error)

    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(look)
    return task
