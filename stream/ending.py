"""Ending: what asks a process to end, and what makes sure that it does."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

LAST_SECONDS: Final = 2.0


def asked_to_stop() -> "asyncio.Task[bool]":
    """Return a task of the running loop that is done at SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    return asyncio.create_task(stop.wait())


def end_within(seconds: float, say: Callable[[], None]) -> None:
    """End the process if it does not by itself: libraries may hold up the loop's end, or a thread.

    *say* is called after *seconds*, and LAST_SECONDS later all is over, with exit code 1. Watched
    from a thread, since the loop may be gone by then.
    """

    def end() -> None:
        say()
        time.sleep(LAST_SECONDS)
        os._exit(1)

    last = threading.Timer(seconds, end)
    last.daemon = True
    last.start()
