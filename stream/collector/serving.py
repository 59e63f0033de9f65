"""The collector as a process: it listens until it is told to stop."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any, Final

from stream.collector.application import create_app
from stream.collector.collector import assemble
from stream.collector.delivery import ANSWER_SECONDS
from stream.errors import first_of
from stream.settings import Settings
from stream.web.serving import announce, listening, server_of

STOP_SECONDS: Final = int(ANSWER_SECONDS)
"""Requests at the end may still wait for Kafka as long as any."""


async def run_collector(settings: Settings, *, port_file: Path | None = None) -> None:
    """Serve until SIGINT or SIGTERM; what was taken by then is acknowledged or answered 503.

    Writes the port to *port_file*. Kafka may be away at the start. Raises InvalidSetting when keys
    are missing, RefusedStart when it cannot listen or Kafka does not let it in.
    """
    collector = assemble(settings)
    listener = listening("collector", settings.collector_host, settings.collector_port)
    server = server_of(
        create_app(collector), stop_seconds=STOP_SECONDS, http="httptools", **_proxies(settings)
    )
    with contextlib.closing(listener):
        running = asyncio.create_task(collector.run())
        serving = asyncio.create_task(server.serve(sockets=[listener]))

        def stop() -> None:
            server.should_exit = True

        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, stop)
        announce("collector", listener, port_file)
        await asyncio.wait({running, serving}, return_when=asyncio.FIRST_COMPLETED)
        stop()
        await serving
        await _ended(running)


async def _ended(running: "asyncio.Task[None]") -> None:
    """End *running*; raise the error that has ended it, if one has."""
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        return
    except BaseExceptionGroup as group:
        raise first_of(group) from None


def _proxies(settings: Settings) -> dict[str, Any]:
    """Return which proxies are believed to say from where a request comes."""
    if settings.collector_proxies is None:
        return {}
    return {"proxy_headers": True, "forwarded_allow_ips": settings.collector_proxies}
