"""The resolver's process: checks its world, reads, and ends in order or with one sentence."""

import asyncio
import logging
import time
from pathlib import Path
from typing import Final

from scoring.model import ScoringModel
from stream.backoff import Backoff
from stream.ending import asked_to_stop, end_within
from stream.errors import RefusedStart
from stream.health import serving_health, stalled
from stream.kafka_admin import declare_topics, wait_for_kafka
from stream.kafka_rights import require_group
from stream.kafka_security import NOT_ALLOWED, denied
from stream.redis_access import let_in, open_store
from stream.resolving.reading import Reading
from stream.settings import Settings
from stream.state_store import RedisStore

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 0.2
META_SECONDS: Final = 0.2
STOP_SECONDS: Final = 8.0


async def run_resolver(
    settings: Settings, model: ScoringModel, *, port_file: Path | None = None
) -> None:
    """Feed the directory until SIGINT or SIGTERM.

    Writes the HTTP port to *port_file* once it listens. Raises SurgelineError when the start is
    refused, or when going on would be wrong.
    """
    settings = settings.model_copy(update={"group": f"{settings.group}-resolver"})
    stopping = asked_to_stop()
    store = open_store(settings)
    reading = Reading(settings, model, store)
    listening = serving_health(
        "resolver",
        Health(reading),
        reading.metrics.registry,
        at=(settings.http_host, settings.resolver_port),
        port_file=port_file,
    )
    try:
        async with listening:
            starting = asyncio.create_task(_prepare(settings, store))
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                return
            await _read(reading, await starting, stopping)
    except NOT_ALLOWED as error:
        raise denied(settings, error) from error
    finally:
        await store.close()


async def _read(reading: Reading, partitions: int, stopping: "asyncio.Task[bool]") -> None:
    async with reading.running(partitions):
        while not stopping.done() and reading.failure is None:
            reading.beat = time.monotonic()
            await asyncio.wait((stopping,), timeout=WATCH_SECONDS)
        log.info("Stopping.")
        # Kafka's client may hold up the end.
        end_within(STOP_SECONDS, _say_late)
    if reading.failure is not None:
        raise reading.failure


async def _prepare(settings: Settings, store: RedisStore) -> int:
    """Wait for the servers and a worker's first start; return the partition count."""
    backoff = Backoff(log.warning, name="Redis")
    await backoff.answered(lambda: let_in(store.check_server))
    await wait_for_kafka(settings, lambda error: log.warning("%s Waiting for it.", error))
    partitions = await declare_topics(settings)
    await require_group(settings)
    said = False
    # Keys before those of a worker's first start would look like a reset that broke off.
    while not (meta := await backoff.answered(store.meta)):
        if not said:
            log.info("Waits for the first start of a worker.")
            said = True
        await asyncio.sleep(META_SECONDS)
    if meta.get("partitions") != str(partitions):
        raise RefusedStart(
            f"The stored scores have partitions {meta.get('partitions')}, the topics have "
            f"{partitions}: this is another Kafka or another Redis than the workers'."
        )
    return partitions


def _say_late() -> None:
    log.warning("Stopping took too long; the next resolver goes on from what is noted.")


class Health:
    """What the endpoints say of a running resolver."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def alive(self) -> str | None:
        """Tell what is wrong with the process itself."""
        if self._reading.failure is not None:
            return f"ending: {self._reading.failure}"
        return stalled(self._reading.beat) if self._reading.started else None

    def ready(self) -> str | None:
        """Tell why it does not feed the directory now."""
        if (wrong := self.alive()) is not None:
            return wrong
        if not self._reading.started:
            return "waiting for Kafka, Redis or the first start of a worker"
        if self._reading.redis_backoff.away:
            return "waiting for Redis"
        if self._reading.kafka_backoff.away:
            return "waiting for Kafka"
        return None if self._reading.joined else "has not joined its group yet"
