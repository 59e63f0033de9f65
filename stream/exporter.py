"""The exporter: what Redis holds of the funnel, as Prometheus metrics, read at every scrape.

The KPIs beside it are computed in the background (`stream.kpi_exporting`). It writes nothing, so it may start before the first worker,
and as many of it as one likes.
"""

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import redis
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.backoff import NoBackoff
from redis.retry import Retry

from scoring.funnel import STAGES
from scoring.model import ScoringModel
from stream.errors import RefusedStart, said
from stream.kpi_exporting import KpiCollector
from stream.listening import web_address, write_port
from stream.redis_access import access_arguments, refusal_of
from stream.redis_metrics import RedisFigures
from stream.settings import Settings
from stream.state_store import META, shard_prefix
from stream.version import installed_version

log = logging.getLogger(__name__)

REDIS_SECONDS: Final = 2.0
SIGNAL_SECONDS: Final = 0.5
NO_TIER: Final = "none"

Respond = Callable[..., Any]
App = Callable[[dict[str, Any], Respond], Iterable[bytes]]


class FunnelCollector(Collector):
    """Reads the funnel counters of all shards whenever it is asked to collect.

    While Redis does not answer there is ``surgeline_up`` 0 and nothing of the business.
    """

    def __init__(self, client: "redis.Redis", *, version: str, model: ScoringModel) -> None:
        self._redis = client
        self._info = {"version": version, "model": model.name, "digest": model.digest}
        self._figures = RedisFigures(client)
        self._down = False

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        began = time.perf_counter()
        counts = self._counts()
        seconds = time.perf_counter() - began
        yield _gauge(
            "surgeline_up", "Whether Redis answered the exporter.", int(counts is not None)
        )
        yield _gauge("surgeline_scrape_duration_seconds", "Time that reading Redis took.", seconds)
        info = GaugeMetricFamily(
            "surgeline_build_info",
            "Version and scoring model of the exporter; always 1.",
            labels=tuple(self._info),
        )
        info.add_metric(tuple(self._info.values()), 1)
        yield info
        if counts is not None:
            yield from _business(counts)
            yield from self._figures.collect()

    def _counts(self) -> dict[str, int] | None:
        """Return the funnel counters summed over shards, None while Redis is away."""
        try:
            counts = self._read()
        except (redis.RedisError, OSError) as error:
            if not self._down:
                log.warning("Redis does not answer (%s).", said(error))
            self._down = True
            return None
        if self._down:
            log.warning("Redis is back.")
        self._down = False
        return counts

    def _read(self) -> dict[str, int]:
        partitions = int(self._redis.hget(META, "partitions") or 0)
        pipe = self._redis.pipeline(transaction=False)
        for shard in range(partitions):
            pipe.hgetall(f"{shard_prefix(shard)}funnel")
        total: dict[str, int] = {}
        for found in pipe.execute():
            for field, value in found.items():
                name = field.decode("utf-8", "replace")
                total[name] = total.get(name, 0) + int(value)
        return total


def _business(counts: dict[str, int]) -> Iterator[Metric]:
    accounts = GaugeMetricFamily(
        "surgeline_funnel_accounts",
        "Target accounts in a funnel stage now, by tier.",
        labels=("stage", "tier"),
    )
    tiers = {name.partition("|")[0] for name in counts if "|" in name} or {NO_TIER}
    for tier in sorted(tiers):
        for stage in STAGES:
            accounts.add_metric((stage, tier), counts.get(f"{tier}|{stage}", 0))
    yield accounts
    moves = CounterMetricFamily(
        "surgeline_funnel_moves",
        "Moves of accounts between funnel stages; none is the outside of the funnel.",
        labels=("from", "to"),
    )
    for name in sorted(counts):
        before, moved, after = name.partition(">")
        if moved:
            moves.add_metric((before, after), counts[name])
    yield moves
    surging = counts.get("surging", 0)
    yield _gauge(
        "surgeline_accounts_surging", "Accounts that surge on at least one topic now.", surging
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def exporter_app(registry: CollectorRegistry) -> App:
    """Return the WSGI application: /metrics, and /healthz for whether this process works.

    The latter says nothing of Redis: ``surgeline_up`` does, and a restart would not cure it.
    """
    metrics: App = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Respond) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        status, body = ("200 OK", b"ok\n") if path == "/healthz" else ("404 Not Found", b"")
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [body]

    return app


def run_exporter(settings: Settings, model: ScoringModel, *, port_file: Path | None = None) -> None:
    """Serve until SIGINT or SIGTERM.

    Prints where it listens, and writes the port to *port_file*. Raises RefusedStart when it
    cannot listen there, or when Redis does not let it in. To be called in the main thread.
    """
    client = redis.Redis.from_url(
        settings.redis_url,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
        **access_arguments(settings),
        # Once more, for a connection that a restarted Redis has closed; never after a timeout.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
    _require_access(client)
    registry = CollectorRegistry()
    registry.register(FunnelCollector(client, version=installed_version(), model=model))
    kpis = KpiCollector(settings)
    registry.register(kpis)
    server = _listening(settings, exporter_app(registry))
    stopped = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stopped.set())
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    serving.start()
    kpis.start()
    try:
        _announce(settings.http_host, server.server_address[1], port_file)
        # A signal that the system hands to another thread does not wake this one by itself.
        while not stopped.wait(SIGNAL_SECONDS):
            pass
    finally:
        kpis.stop()
        server.shutdown()
        serving.join()
        server.server_close()
        client.close()


def _require_access(client: "redis.Redis") -> None:
    """Raise RefusedStart when Redis does not let us in; it may well be away at the start."""
    try:
        client.hexists(META, "partitions")
    except redis.exceptions.NoPermissionError as error:
        raise RefusedStart(
            f"Redis does not allow this user to read {META}: it must have the access rules of the "
            "exporter (deploy/redis/users.acl.example)."
        ) from error
    except (redis.RedisError, OSError) as error:
        refusal = refusal_of(error)
        if refusal is not None:
            raise refusal from error


def _announce(host: str, port: Any, port_file: Path | None) -> None:
    write_port(port, port_file)
    log.info("Exporter serves metrics at %s/metrics.", web_address(host, port))


class _Server(ThreadingMixIn, WSGIServer):
    """One thread a request: a health check does not wait for a scrape that waits for Redis."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which takes long where DNS is broken."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 30.0
    """Seconds after which a client that sends nothing is let go."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Log requests only at level debug."""
        log.debug(format, *args)


def _listening(settings: Settings, app: App) -> WSGIServer:
    host, port = settings.http_host, settings.exporter_port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        kind = _Server6 if family == socket.AF_INET6 else _Server
        return make_server(host, port, app, kind, _Handler)
    except OSError as error:
        raise RefusedStart(
            f"SURGELINE_EXPORTER_PORT={port}: cannot listen on {host} ({error.strerror or error})."
        ) from error
