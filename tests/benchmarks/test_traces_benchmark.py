"""What traces cost: where there are none against code that knows of none, and where there are some.

    pytest tests/benchmarks/test_traces_benchmark.py -m benchmark -s

Of several rounds, taken in turns, the quickest counts: what else the machine does only ever adds. Compare the ratios.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import uvloop
from falcon.testing import ASGIConductor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_ON, ParentBased, Sampler

from forebay import Handlers
from forebay.ingest.app import create_app
from forebay.ingest.endpoint import Endpoint
from forebay.ingest.record import Receipt, received
from forebay.ingest.settings import IngestSettings
from forebay.processors.handling import Handling
from forebay.processors.outcome import UNHANDLED
from forebay.processors.settings import WorkerSettings
from forebay.processors.worker import Worker
from forebay.queues.memory import MemoryQueue
from forebay.queues.tracing.contract import Tracer
from forebay.queues.tracing.otel import OtelTracer
from forebay.schemas.event import PortalEvent
from tests.benchmarks.one_worker import filled, run_through
from tests.unit.ingest.conftest import EVENT

RECORDS, CALLS, ROUNDS = 20_000, 3_000, 5

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]


class Nowhere(SpanExporter):
    """Takes spans as quickly as anything can."""

    def export(self, spans: Any) -> SpanExportResult:
        """They are gone."""
        return SpanExportResult.SUCCESS


def tracer(sampler: Sampler) -> Tracer:
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return OtelTracer(provider, system="memory", topic="bitrix24.events")


def begin_without_layer(self: Any, handler: Any, event: Any, lane: Any, record: Any) -> Any:
    """As the worker was before it knew of traces."""
    if not isinstance(event, PortalEvent):
        return event
    if handler is None:
        return UNHANDLED
    return self._try.__self__._calls.begin(handler, event)


def receive_without_layer(self: Any, request: Any) -> Receipt:
    """As the ingest was."""
    return received(time.time_ns(), self.path, request.traceparent)


Measure = Callable[[Tracer | None], float]


def compared(what: str, measure: Measure, without_layer: Callable[[], float]) -> Mapping[str, float]:
    """Microseconds of CPU, printed with what they are of those without the layer."""
    ways: dict[str, Callable[[], float]] = {
        "no layer": without_layer,
        "off": partial(measure, None),
        "on, not sampled": lambda: measure(tracer(ParentBased(ALWAYS_OFF))),
        "on, every event": lambda: measure(tracer(DEFAULT_ON)),
    }
    rounds = [{way: run() for way, run in ways.items()} for _ in range(ROUNDS)]
    costs = {way: min(one[way] for one in rounds) for way in ways}
    print(f"\n{what}")
    for way, cost in costs.items():
        print(f"  {way:18}{cost:8.1f} µs  × {cost / costs['no layer']:.2f}")
    return costs


def worker_us(tracer: Tracer | None) -> float:
    async def measured() -> float:
        queue, handlers = await filled(RECORDS, with_headers=True), Handlers()

        @handlers.on("*")
        async def trivial(event: PortalEvent) -> None:
            assert event

        worker = Worker(WorkerSettings(commit_interval_s=0.1), handlers, queue, tracer=tracer)
        return (await run_through(worker, queue, RECORDS))[1]

    return uvloop.run(measured())


def ingest_us(tracer: Tracer | None) -> float:
    async def measured() -> float:
        ingest = create_app(IngestSettings(auth=("none",)), MemoryQueue(), tracer=tracer)
        async with ASGIConductor(ingest.app) as conductor:
            while await ingest.health.queue_state() != "ok":
                await conductor.simulate_get("/ready")
            began = time.process_time()
            for _ in range(CALLS):
                await conductor.simulate_post("/bitrix24", body=EVENT)
            took = time.process_time() - began
        return took / CALLS * 1e6

    return uvloop.run(measured())


def test_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_layer() -> float:
        with monkeypatch.context() as patched:
            patched.setattr(Handling, "_begin", begin_without_layer)
            return worker_us(None)

    costs = compared("worker, an event, a handler that does nothing", worker_us, without_layer)

    assert min(costs.values()) > 0


def test_the_ingest(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_layer() -> float:
        with monkeypatch.context() as patched:
            patched.setattr(Endpoint, "_receive", receive_without_layer)
            return ingest_us(None)

    costs = compared("ingest, a call with the test's own client", ingest_us, without_layer)

    assert min(costs.values()) > 0
