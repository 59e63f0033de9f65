"""Traces: spans of what a worker and a notifier do, for whoever has a place to send them.

Off unless the settings say where; then nothing of OpenTelemetry is loaded here. A span names
topics, shards, routes and counts, never an account, a contact or anything else out of a record,
and of an error its kind alone: what it says may quote one.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stream.errors import RefusedStart
from stream.settings import Settings, traces_wanted
from stream.version import installed_version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger(__name__)

EXPORT_SECONDS: Final = 2.0
"""For one request to whoever takes the spans, tries again included."""
CLOSE_SECONDS: Final = 2.0
"""For the last spans at the end of the process; what is left then is dropped."""

Value = str | int
Span = Callable[..., AbstractContextManager[None]]
"""``span(name, attribute=value, ...)``: a block that is timed."""

_NOTHING: Final = contextlib.nullcontext()


def no_span(_name: str, **_attributes: Value) -> AbstractContextManager[None]:
    """Time nothing."""
    return _NOTHING


def _close_nothing() -> None:
    """Have nothing to close."""


@dataclass(frozen=True)
class Tracing:
    """How to make spans, and how to send the last of them."""

    span: Span = no_span
    close: Callable[[], None] = _close_nothing
    """Blocks for at most CLOSE_SECONDS."""


def open_tracing(settings: Settings, *, process: str) -> Tracing:
    """Return the tracing of this *process*, which does nothing unless the settings ask for it.

    Raises RefusedStart when SURGELINE_TRACES_URL is set and OpenTelemetry is not installed.
    """
    if not traces_wanted(settings):
        return Tracing()
    try:
        provider = _provider(settings, process)
    except ImportError as error:
        if settings.traces_url is None:  # a variable that is set for every program of a machine
            log.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed.")
            return Tracing()
        raise RefusedStart(
            "SURGELINE_TRACES_URL is set, but OpenTelemetry is not installed: install "
            "surgeline[tracing], or leave it empty."
        ) from error
    log.info("Traces are sent.")
    return Tracing(_span_of(provider), lambda: _close(provider))


def _provider(settings: Settings, process: str) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ours = {"service.name": f"surgeline-{process}", "service.version": installed_version()}
    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say counts for more.
    resource = Resource.create(ours).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    # Without a URL of ours it reads the standard variables, headers and certificates included.
    exporter = OTLPSpanExporter(endpoint=settings.traces_url, timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _span_of(provider: "TracerProvider") -> Span:
    from opentelemetry.trace import StatusCode

    tracer = provider.get_tracer("surgeline", installed_version())

    @contextlib.contextmanager
    def span(name: str, **attributes: Value) -> Iterator[None]:
        named: dict[str, Any] = {f"surgeline.{key}": value for key, value in attributes.items()}
        with tracer.start_as_current_span(
            name, attributes=named, record_exception=False, set_status_on_exception=False
        ) as current:
            try:
                yield
            except BaseException as error:
                current.set_attribute("error.type", type(error).__qualname__)
                current.set_status(StatusCode.ERROR)
                raise

    return span


def _close(provider: "TracerProvider") -> None:
    last = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
    last.start()
    last.join(CLOSE_SECONDS)
