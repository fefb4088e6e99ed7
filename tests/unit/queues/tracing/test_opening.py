"""When there are traces, and that nothing of OpenTelemetry is there when there are none."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._once import Once
from structlog.testing import capture_logs

from forebay.queues.settings import QueueSettings
from forebay.queues.tracing import opening
from forebay.queues.tracing.opening import open_tracer
from forebay.queues.tracing.otel import OtelTracer

SETTINGS = QueueSettings(queue_url="kafka://127.0.0.1:9092")
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture(autouse=True)
def no_provider() -> Iterator[None]:
    """As in a new process: OpenTelemetry takes a provider for all once, and never another."""
    before = trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE
    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = None, Once()
    yield
    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = before


def opened(environ: Mapping[str, str]) -> OtelTracer | None:
    tracer = open_tracer(SETTINGS, "forebay-test", environ)
    assert tracer is None or isinstance(tracer, OtelTracer)
    return tracer


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "shop", "OTEL_TRACES_EXPORTER": "otlp"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
)
def test_there_are_no_traces_unless_they_have_somewhere_to_go(environ: Mapping[str, str]) -> None:
    with capture_logs() as lines:
        assert opened(environ) is None

    assert lines == []


@pytest.mark.parametrize(
    "environ",
    [
        ENDPOINT,
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"},
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_TRACES_EXPORTER": "otlp"},
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
    ],
)
async def test_there_are_when_they_have(environ: Mapping[str, str]) -> None:
    tracer = opened(environ)

    assert tracer is not None
    await tracer.close()


def test_a_protocol_that_we_do_not_speak_is_told() -> None:
    with capture_logs() as lines:
        assert opened({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}) is None

    assert [line["event"] for line in lines] == ["there are no traces: of OTLP we speak http/protobuf"]


def test_who_has_not_installed_the_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_NEEDED", ("opentelemetry.nothing.of.the.kind",))

    with capture_logs() as lines:
        assert opened(ENDPOINT) is None

    assert "pip install 'forebay[otel]'" in lines[0]["event"]


async def test_the_provider_that_is_there_is_used_and_ends_with_the_process() -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(provider)
    ended: list[str] = []
    provider.shutdown = lambda: ended.append("shutdown")  # type: ignore[method-assign]

    tracer = opened(ENDPOINT)
    assert tracer is not None
    await tracer.close()

    assert trace.get_tracer_provider() is provider
    assert ended == ["shutdown"]


async def test_otherwise_handlers_own_instrumentation_finds_ours() -> None:
    tracer = opened(ENDPOINT)
    assert tracer is not None

    assert isinstance(trace.get_tracer_provider(), TracerProvider)
    await tracer.close()


async def test_a_login_that_stands_there_in_a_wrong_form_is_not_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team: geheim1234567")

    tracer = opened(ENDPOINT)
    assert tracer is not None
    await tracer.close()

    assert "format invalid" in caplog.text
    assert "geheim" not in caplog.text


@pytest.mark.parametrize(
    ("environ", "service"),
    [
        ({}, "forebay-test"),
        ({"OTEL_SERVICE_NAME": "shop"}, "shop"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=crm"}, "crm"),
    ],
)
async def test_the_service_has_the_name_that_it_is_given(
    monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str], service: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    tracer = opened({**ENDPOINT, **environ})
    assert tracer is not None
    provider: Any = trace.get_tracer_provider()

    assert provider.resource.attributes["service.name"] == service
    await tracer.close()


async def test_an_export_that_never_ends_ends_no_stop() -> None:
    released, begun = threading.Event(), threading.Event()
    provider = TracerProvider(shutdown_on_exit=False)

    def hang() -> None:
        begun.set()
        released.wait()

    provider.shutdown = hang  # type: ignore[method-assign]
    tracer = OtelTracer(provider, system="kafka", topic="t")

    await tracer.close()

    assert begun.is_set() and not released.is_set()
    released.set()
    # What the thread says then to a loop that goes on disturbs nobody.
    await asyncio.sleep(0)


def test_without_traces_nothing_of_opentelemetry_is_imported() -> None:
    script = """
import asyncio, sys
from forebay import Handlers
from forebay.console import cli
from forebay.console.processes import worker as worker_process
from forebay.ingest.app import create_app
from forebay.ingest.server import Server
from forebay.ingest.settings import IngestSettings
from forebay.processors.settings import WorkerSettings
from forebay.processors.worker import Worker
from forebay.queues.memory import MemoryQueue
from forebay.queues.tracing.opening import open_tracer

async def main():
    queue, handlers = MemoryQueue(), Handlers()
    handlers.on("*")(lambda event: None)
    create_app(IngestSettings(), queue, tracer=open_tracer(IngestSettings(), "a"))
    worker = Worker(WorkerSettings(), handlers, queue, tracer=open_tracer(WorkerSettings(), "b"))
    worker.stop()
    await worker.run()

asyncio.run(main())
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environ = {**outside, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environ, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
