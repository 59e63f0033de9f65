"""The worker process: checks its world, starts the app, and ends in order or with one sentence."""

import asyncio
import contextlib
import gc
import logging
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import scipy.special  # noqa: F401  # not at the first surge: it would stop the loop for a moment
from aiokafka.errors import KafkaError
from faust.exceptions import AlreadyConfiguredWarning

from scoring.model import ScoringModel
from stream.app import WorkerApp, create_app
from stream.backoff import Backoff
from stream.ending import asked_to_stop, end_within
from stream.errors import RefusedStart, SurgelineError, Unreachable
from stream.health import serving_health, stalled
from stream.kafka_admin import committed_offsets, declare_topics, wait_for_kafka
from stream.kafka_rights import require_group
from stream.kafka_security import NOT_ALLOWED, denied
from stream.redis_access import let_in, open_store
from stream.settings import Settings
from stream.state_store import FORMAT, RedisStore, readable_format
from stream.topics import INPUTS

log = logging.getLogger(__name__)

DUE_SECONDS: Final = 1.0
WATCH_SECONDS: Final = 0.2
KAFKA_CHECK_SECONDS: Final = 2.0
STOP_SECONDS: Final = 4.0
END_SECONDS: Final = 8.0


async def run_worker(
    settings: Settings, model: ScoringModel, *, port_file: Path | None = None
) -> None:
    """Score until SIGINT or SIGTERM.

    Writes the HTTP port to *port_file* once it listens. Raises SurgelineError when the start
    is refused, or when going on would be wrong.
    """
    starting, stopping = asyncio.create_task(prepare(settings, model)), asked_to_stop()
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return
    worker = create_app(settings, model, partitions=await starting)
    _spare_garbage_collection()
    try:
        async with _running(worker, settings, port_file) as health:
            await _until_over(worker, health, stopping)
    except NOT_ALLOWED as error:
        raise denied(settings, error) from error


def _spare_garbage_collection() -> None:
    """Collect cycles seldom: the cached states are many objects, and none of them is a cycle.

    With the default thresholds a quarter of a worker's time went into looking at them. With these
    it is a tenth of a second now and then, while accounts are read for the first time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


async def prepare(settings: Settings, model: ScoringModel) -> int:
    """Wait for the servers, declare what is missing, and return the partition count.

    Raises RefusedStart when what is stored does not fit these settings.
    """
    store = open_store(settings)
    try:
        await Backoff(log.warning, name="Redis").answered(lambda: let_in(store.check_server))
        await wait_for_kafka(settings, lambda error: log.warning("%s Waiting for it.", error))
        partitions = await declare_topics(settings)
        await require_group(settings)
        await _check_meta(store, settings, model, partitions)
    finally:
        await store.close()
    return partitions


async def _check_meta(
    store: RedisStore, settings: Settings, model: ScoringModel, partitions: int
) -> None:
    wanted = {
        "partitions": str(partitions),
        "clock": settings.clock,
        "digest": model.digest,
    }
    stored = await store.meta()
    if not stored:
        topics = [settings.topic_prefix + topic for topic in INPUTS]
        committed = await committed_offsets(settings, topics, partitions)
        if committed and settings.on_missing_state == "stop":
            (topic, partition), offset = max(committed.items(), key=lambda item: item[1])
            raise RefusedStart(
                f"Redis holds no scores, although group {settings.group} has scored "
                f"{topic}/{partition} up to offset {offset} (and {len(committed) - 1} more "
                "partitions): Redis was emptied, or this is another one. To rebuild the scores "
                "from Kafka's log, run `surgeline reset --replay` or set "
                "SURGELINE_ON_MISSING_STATE=replay."
            )
        # A worker that starts at the same time may just have been faster.
        if await store.holds_keys() and not await store.meta():
            raise RefusedStart(
                "Redis holds keys of Surgeline without sl:meta, as after an interrupted reset "
                "or restore: do it again, or run `surgeline reset --replay`."
            )
        stored = await store.write_meta(
            wanted | {"format": str(FORMAT), "created_at": str(int(time.time()))}
        )
    recorded = stored.get("format", "")
    if not readable_format(recorded):
        raise RefusedStart(
            f"The stored scores have format {recorded}, this version reads formats up to {FORMAT}: "
            "start the version that wrote them, or start over from Kafka with "
            "`surgeline reset --replay`."
        )
    for name, value in wanted.items():
        if stored.get(name) != value:
            raise RefusedStart(
                f"The stored scores have {name} {stored.get(name)}, this worker has {value}: "
                "start it with the same settings, or start over from Kafka with "
                "`surgeline reset --replay`."
            )
    if recorded != str(FORMAT):
        log.warning(
            "Stored states of format %s are read, and written in format %d when they change.",
            recorded,
            FORMAT,
        )
        await store.upgrade_meta(recorded, now=time.time())


class Health:
    """What the endpoints say of a running worker."""

    def __init__(self, worker: WorkerApp) -> None:
        self._worker = worker
        self.beat = time.monotonic()
        self.stopping = False

    def alive(self) -> str | None:
        """Tell what is wrong with the process itself."""
        failure = self._worker.ownership.failure()
        if failure is not None:
            return f"ending: {failure}"
        return stalled(self.beat)

    def ready(self) -> str | None:
        """Tell why it does not score now."""
        wrong = self.alive() or ("stopping" if self.stopping else None)
        if wrong is not None:
            return wrong
        if self._worker.redis_backoff.away:
            return "waiting for Redis"
        if self._worker.kafka_backoff.away:
            return "waiting for Kafka"
        if not self._worker.ownership.claimed:
            return "has not joined its group yet"
        if self._worker.faust.rebalancing:
            return "rebalancing"
        return None


@contextlib.asynccontextmanager
async def _running(
    worker: WorkerApp, settings: Settings, port_file: Path | None
) -> AsyncIterator[Health]:
    health = Health(worker)
    tasks: list[asyncio.Task[None]] = []
    async with serving_health(
        "worker",
        health,
        worker.metrics.registry,
        at=(settings.http_host, settings.worker_port),
        port_file=port_file,
    ):
        try:
            await worker.producer.start()
            await worker.faust.start()
            tasks = [asyncio.create_task(each(worker)) for each in (_keep_due, _watch_kafka)]
            yield health
        finally:
            health.stopping = True
            for task in tasks:
                task.cancel()
            await _stop(worker)


async def _stop(worker: WorkerApp) -> None:
    """Commit, leave the group, close; bounded, since nothing uncommitted is lost."""
    # Else Faust waits without end, deaf to cancellation, for records that nobody will score.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlreadyConfiguredWarning)
        worker.faust.conf.stream_wait_empty = False
    stopping = asyncio.create_task(_leave(worker))
    done, _ = await asyncio.wait((stopping,), timeout=STOP_SECONDS)
    if not done:
        log.warning("Stopping took too long; what was not committed is scored by the next worker.")
    failure = worker.ownership.failure()
    end_within(END_SECONDS if done else 0.0, lambda: log.error("%s", failure) if failure else None)
    await worker.store.close()
    await asyncio.to_thread(worker.tracing.close)


async def _leave(worker: WorkerApp) -> None:
    if worker.ownership.failure() is None:
        await worker.ownership.finish()
    await worker.faust.stop()
    await worker.producer.stop()


async def _until_over(worker: WorkerApp, health: Health, stopping: asyncio.Task[bool]) -> None:
    while not stopping.done():
        health.beat = time.monotonic()
        failure = worker.ownership.failure()
        if failure is None and worker.faust.crashed:
            failure = worker.faust.crash_reason or SurgelineError("The consumer stopped.")
        if failure is not None:
            worker.ownership.fail(failure)
            raise failure
        await asyncio.wait((stopping,), timeout=WATCH_SECONDS)
    log.info("Stopping.")


async def _keep_due(worker: WorkerApp) -> None:
    while True:
        await asyncio.sleep(DUE_SECONDS)
        try:
            await worker.ownership.require_scores()
            await worker.ownership.check_fences()
            await worker.ownership.evaluate_due()
        except Exception as error:  # noqa: BLE001  # whatever it is ends the process
            worker.ownership.fail(error)
            return


async def _watch_kafka(worker: WorkerApp) -> None:
    """Say once when Kafka goes, and once when it is back."""
    while True:
        await asyncio.sleep(KAFKA_CHECK_SECONDS)
        try:
            async with asyncio.timeout(KAFKA_CHECK_SECONDS * 2):
                await worker.producer.client.fetch_all_metadata()
        except (KafkaError, TimeoutError, OSError) as error:
            text = str(error) or type(error).__name__
            await worker.kafka_backoff.wait(Unreachable(f"Kafka does not answer ({text})."))
        else:
            worker.kafka_backoff.succeeded()
