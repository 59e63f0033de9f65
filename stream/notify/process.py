"""The notifier's process: checks its world, delivers, and ends in order or with one sentence."""

import asyncio
import logging
from pathlib import Path
from typing import Final

import aiohttp

from stream.ending import asked_to_stop, end_within
from stream.health import serving_health, stalled
from stream.kafka_admin import declare_topics, wait_for_kafka
from stream.kafka_rights import require_group
from stream.kafka_security import NOT_ALLOWED, denied
from stream.notify.notifier import Notifier
from stream.notify.past import check_partitions
from stream.notify.routes import Routes
from stream.settings import Settings
from stream.tracing import open_tracing

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 0.2
STOP_SECONDS: Final = 8.0


async def run_notifier(
    settings: Settings, routes: Routes, *, port_file: Path | None = None
) -> None:
    """Deliver alerts until SIGINT or SIGTERM.

    Writes the HTTP port to *port_file* once it listens. Raises SurgelineError when the start is
    refused, or when going on would be wrong.
    """
    settings = settings.model_copy(update={"group": f"{settings.group}-notifier"})
    starting, stopping = asyncio.create_task(_prepare(settings)), asked_to_stop()
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return
    await starting
    try:
        await _deliver(settings, routes, stopping, port_file)
    except NOT_ALLOWED as error:
        raise denied(settings, error) from error


async def _prepare(settings: Settings) -> None:
    await wait_for_kafka(settings, lambda error: log.warning("%s Waiting for it.", error))
    await declare_topics(settings)
    await require_group(settings)
    await check_partitions(settings)


async def _deliver(
    settings: Settings, routes: Routes, stopping: "asyncio.Task[bool]", port_file: Path | None
) -> None:
    if not routes.routes:
        log.warning("SURGELINE_ROUTES names no route: nobody is told of alerts.")
    # Lanes bound how many connections there are, each for its own endpoint.
    connector = aiohttp.TCPConnector(limit=0)
    tracing = open_tracing(settings, process="notifier")
    async with aiohttp.ClientSession(connector=connector) as session:
        notifier = Notifier(settings, routes, session, span=tracing.span)
        listening = serving_health(
            "notifier",
            Health(notifier),
            notifier.metrics.registry,
            at=(settings.http_host, settings.notifier_port),
            port_file=port_file,
        )
        async with listening, notifier.running():
            while not stopping.done() and notifier.failure is None:
                await asyncio.wait((stopping,), timeout=WATCH_SECONDS)
            log.info("Stopping.")
            # Kafka's client and Apprise's threads may hold up the end.
            end_within(STOP_SECONDS, _say_late)
        await asyncio.to_thread(tracing.close)
        if notifier.failure is not None:
            raise notifier.failure


def _say_late() -> None:
    log.warning("Stopping took too long; what was not recorded is delivered again.")


class Health:
    """What the endpoints say of a running notifier."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def alive(self) -> str | None:
        """Tell what is wrong with the process itself."""
        if self._notifier.failure is not None:
            return f"ending: {self._notifier.failure}"
        return stalled(self._notifier.beat)

    def ready(self) -> str | None:
        """Tell why it does not deliver now."""
        if (wrong := self.alive()) is not None:
            return wrong
        if self._notifier.backoff.away:
            return "waiting for Kafka"
        if not self._notifier.joined:
            return "has not joined its group yet"
        if not self._notifier.ready:
            return "reading what was delivered before"
        return None
