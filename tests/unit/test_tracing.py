"""Traces: off unless somebody asks for them, and then costing nothing."""

import builtins
import subprocess
import sys
from typing import Any

import pytest

from stream.errors import RefusedStart
from stream.settings import load_settings
from stream.tracing import Tracing, no_span, open_tracing

STANDARD = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
URL = "http://127.0.0.1:9/v1/traces"


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*STANDARD, "SURGELINE_TRACES_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let OpenTelemetry be missing, as it is without the extra."""
    real = builtins.__import__

    def without(name: str, *arguments: Any, **further: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **further)

    monkeypatch.setattr(builtins, "__import__", without)


def test_nothing_is_traced_unless_somebody_asks() -> None:
    assert open_tracing(load_settings(), process="worker") == Tracing()


@pytest.mark.parametrize("variable", STANDARD)
def test_empty_variables_ask_for_nothing(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "")
    monkeypatch.setenv("SURGELINE_TRACES_URL", "")

    assert open_tracing(load_settings(), process="worker") == Tracing()


def test_span_that_nobody_wants_is_always_the_same_object() -> None:
    assert no_span("commit", shard=1) is no_span("load")
    with no_span("commit", shard=1):
        pass


def test_worker_without_traces_loads_nothing_that_sends_them() -> None:
    # Redis' client imports the rest of OpenTelemetry by itself where it is installed.
    code = "import sys, stream.worker, stream.notify.process; print(*sys.modules)"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert [name for name in ran.stdout.split() if "opentelemetry.exporter" in name] == []


@pytest.mark.usefixtures("not_installed")
def test_address_without_opentelemetry_is_refused_in_one_sentence() -> None:
    with pytest.raises(RefusedStart, match=r"install surgeline\[tracing\], or leave it empty"):
        open_tracing(load_settings(traces_url=URL), process="worker")


@pytest.mark.usefixtures("not_installed")
def test_variable_that_is_meant_for_all_programs_is_no_reason_to_refuse(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(STANDARD[0], "http://127.0.0.1:9")

    assert open_tracing(load_settings(), process="worker") == Tracing()
    assert "OpenTelemetry is not installed" in caplog.text


def test_fault_inside_a_span_goes_on_its_way() -> None:
    tracing = open_tracing(load_settings(traces_url=URL), process="worker")
    try:
        with pytest.raises(ValueError, match="ann@acme"), tracing.span("commit", shard=1):
            raise ValueError("ann@acme")
    finally:
        tracing.close()
