"""Traces of real processes, taken by a real OTLP/HTTP receiver on loopback."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from tests.integration.conftest import KAFKA_ONLY
from tests.integration.notifier_kit import QUICK, notifier, receiving, told, webhook, write_routes
from tests.integration.worker_kit import Place, Servers
from tests.system.harness import Json, eventually, market

CANARY = "canary"
SENT_SECONDS = 30.0

pytestmark = KAFKA_ONLY

_service: Any = trace_service_pb2


class Span(NamedTuple):
    """One span as it arrived."""

    service: str
    name: str
    id: bytes
    parent: bytes
    attributes: dict[str, str | int]


class Collector:
    """Takes spans as any OTLP/HTTP endpoint does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.paths: set[str] = set()
        self.raw = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def take(self, path: str, body: bytes) -> None:
        self.paths.add(path)
        self.raw += body
        request = _service.ExportTraceServiceRequest.FromString(body)
        for of_process in request.resource_spans:
            service = _values(of_process.resource.attributes)["service.name"]
            for scope in of_process.scope_spans:
                for each in scope.spans:
                    values = _values(each.attributes)
                    self.spans.append(
                        Span(str(service), each.name, each.span_id, each.parent_span_id, values)
                    )

    def named(self, name: str) -> list[Span]:
        return [each for each in list(self.spans) if each.name == name]


def _values(attributes: Any) -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    threading.Thread(target=collector.server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        collector.server.server_close()


def events() -> list[Json]:
    """Return events whose people can be told anywhere they turn up."""
    return [
        {**each, "contact_id": f"{CANARY}-{each['contact_id']}"} if "contact_id" in each else each
        for each in market(seed=3, accounts=5, events=200)
    ]


def test_worker_sends_spans_of_what_it_does(servers: Servers, tmp_path: Path) -> None:
    with collecting() as collector, Place(servers, tmp_path) as place:
        worker = place.ready_worker(
            SURGELINE_TRACES_URL=f"{collector.url}/v1/traces", OTEL_BSP_SCHEDULE_DELAY="200"
        )
        place.replay(events())
        wanted = {"score", "load", "commit", "announce"}
        eventually(
            lambda: {each.name for each in list(collector.spans)} >= wanted,
            within_seconds=SENT_SECONDS,
        )
        assert worker.terminate() == 0, worker.log()

    assert {each.name for each in collector.spans} == wanted
    assert {each.service for each in collector.spans} == {"surgeline-worker"}
    assert collector.paths == {"/v1/traces"}
    scored = {each.id for each in collector.named("score")}
    assert {each.parent for each in collector.named("load")} <= scored
    assert sum(int(each.attributes["surgeline.records"]) for each in collector.named("commit")) == (
        len(events())
    )
    topics = {each.attributes["surgeline.topic"] for each in collector.named("score")}
    assert {"accounts", "page-visits"} <= topics
    assert CANARY.encode() not in collector.raw


def test_notifier_asked_by_the_standard_variable_sends_a_span_of_every_try(
    servers: Servers, tmp_path: Path
) -> None:
    with collecting() as collector, receiving() as hook, Place(servers, tmp_path) as place:
        process = notifier(
            place,
            write_routes(place, webhook("crm", hook, QUICK)),
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="200",
        )
        place.produce([told("acme", number) for number in range(3)])
        hook.wait_taken(3)
        eventually(lambda: len(collector.named("deliver")) >= 3, within_seconds=SENT_SECONDS)
        assert process.terminate(within_seconds=15) == 0, process.log()

    assert len(collector.named("deliver")) == 3
    assert {each.attributes["surgeline.route"] for each in collector.spans} == {"crm"}
    assert {each.service for each in collector.spans} == {"surgeline-notifier"}
    assert hook.url.encode() not in collector.raw


def test_collector_that_is_away_neither_stops_a_worker_nor_holds_it_up(
    servers: Servers, tmp_path: Path
) -> None:
    with Place(servers, tmp_path) as place:
        worker = place.ready_worker(SURGELINE_TRACES_URL="http://127.0.0.1:9/v1/traces")
        place.replay(events())

        assert worker.terminate() == 0, worker.log()
        assert CANARY not in worker.log()
