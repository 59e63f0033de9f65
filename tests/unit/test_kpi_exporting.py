"""The thread that computes the KPIs beside the exporter, at the end of the process."""

import subprocess
import sys
from typing import Final

import pytest

ENDING: Final = """
import asyncio
import atexit
import threading

from stream.kpi_exporting import KpiCollector
from stream.settings import Settings

begun = threading.Event()


class Computing(KpiCollector):
    async def _figures(self):
        begun.set()
        # Until the interpreter has shut its thread pools, as a long computation does.
        while True:
            await asyncio.to_thread(int)


kpis = Computing(Settings())
# Long enough for the thread to find the pools shut.
atexit.register(kpis._thread.join, 30)
kpis.start()
begun.wait()
{last}
"""


@pytest.mark.parametrize(("last", "complains"), [("kpis.stop()", False), ("pass", True)])
def test_end_of_the_process_interrupts_quietly_what_was_told_to_stop(
    last: str, *, complains: bool
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDING.format(last=last)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert ("Traceback" in ended.stderr) is complains
