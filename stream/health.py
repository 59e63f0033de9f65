"""The HTTP endpoint of worker, resolver and notifier: metrics, liveness and readiness that tell the truth."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from stream.errors import RefusedStart
from stream.listening import web_address, write_port

log = logging.getLogger(__name__)

Check = Callable[[], str | None]
"""Returns what is wrong in one sentence, None when nothing is."""
LOOP_STALLED_SECONDS: Final = 10.0


class Checks(Protocol):
    """What is told of a process."""

    def alive(self) -> str | None:
        """Tell what is wrong with the process itself."""

    def ready(self) -> str | None:
        """Tell why it does not do its work now."""


def stalled(beat: float) -> str | None:
    """Tell for how long a loop has stood still whose last *beat* (monotonic seconds) is too old."""
    silent = time.monotonic() - beat
    return f"stalled for {silent:.0f} s" if silent > LOOP_STALLED_SECONDS else None


@asynccontextmanager
async def serving_health(
    process: str,
    checks: Checks,
    registry: CollectorRegistry,
    *,
    at: tuple[str, int],
    port_file: Path | None,
) -> AsyncIterator[None]:
    """Serve the endpoint of *process* (``worker``) *at* a host and port while inside.

    Raises RefusedStart, naming the variable, when the port cannot be had.
    """
    server = HealthServer(registry, alive=checks.alive, ready=checks.ready)
    await server.listen(process, *at, port_file)
    try:
        yield
    finally:
        await server.stop()


class HealthServer:
    """Serves /metrics, /healthz (does the process work) and /readyz (does it score)."""

    def __init__(self, registry: CollectorRegistry, *, alive: Check, ready: Check) -> None:
        self._registry = registry
        self._alive = alive
        self._ready = ready
        self._started = time.monotonic()
        self._runner: web.AppRunner | None = None

    async def listen(
        self, process: str, host: str, port: int, port_file: Path | None = None
    ) -> None:
        """Listen for *process* (``worker``), and tell where: in the log and in *port_file*.

        Raises RefusedStart, naming the variable, when the port cannot be had.
        """
        try:
            chosen = await self.start(host, port)
        except OSError as error:
            raise RefusedStart(
                f"SURGELINE_{process.upper()}_PORT={port}: cannot listen ({error.strerror})."
            ) from error
        write_port(chosen, port_file)
        log.info("%s serves metrics at %s/metrics.", process.title(), web_address(host, chosen))

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port, which is a free one when *port* is 0."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", lambda _: self._answer(self._alive))
        app.router.add_get("/readyz", lambda _: self._answer(self._ready))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        chosen: int = self._runner.addresses[0][1]
        return chosen

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _answer(self, check: Check) -> web.Response:
        wrong = check()
        return web.Response(
            text="ok\n" if wrong is None else f"{wrong}\n", status=503 if wrong else 200
        )
