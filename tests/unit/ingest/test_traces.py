"""What a call's spans say, and what its record carries."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags
from structlog.testing import capture_logs

from forebay.ingest.spool.spool import Spool
from forebay.queues.contract import Delivery, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.schemas import names
from forebay.schemas.trace_context import trace_context
from tests.tracing.spans import SAMPLED, TRACE_ID, UNSAMPLED, Spans, id_of, parent_of, trace_of, traceparent_of

from .conftest import EVENT, TOKEN, running

CALL, SEND = "POST /bitrix24", "send bitrix24.events"


async def test_the_record_carries_the_context_of_its_sending() -> None:
    spans = Spans()

    async with running(tracer=spans.tracer) as ingest:
        await ingest.post(traceparent=SAMPLED)

        (record,), event = ingest.records(), ingest.event()
    call, send = spans.one(CALL), spans.one(SEND)
    assert trace_of(call) == trace_of(send) == TRACE_ID
    assert (parent_of(call), parent_of(send)) == ("00f067aa0ba902b7", id_of(call))
    assert dict(record.headers)[names.TRACEPARENT].decode() == event.traceparent == traceparent_of(send)


async def test_spans_say_what_the_conventions_have_names_for() -> None:
    spans = Spans(system="kafka")

    async with running(tracer=spans.tracer) as ingest:
        await ingest.post()
        event = ingest.event()

    call, send = spans.one(CALL), spans.one(SEND)
    assert (call.kind, send.kind) == (SpanKind.SERVER, SpanKind.PRODUCER)
    assert dict(send.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "bitrix24.events",
        "messaging.message.id": event.id,
        "forebay.portal": "a.bitrix24.ru",
        "forebay.outcome": "accepted",
    }
    assert dict(call.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/bitrix24",
        "http.response.status_code": 200,
        "forebay.portal": "a.bitrix24.ru",
        "forebay.outcome": "accepted",
    }
    assert (call.status.status_code, send.status.status_code) == (StatusCode.UNSET, StatusCode.UNSET)


async def test_a_call_without_a_trace_begins_one() -> None:
    spans = Spans()

    async with running(tracer=spans.tracer) as ingest:
        await ingest.post()
        event = ingest.event()

    assert parent_of(spans.one(CALL)) == ""
    assert event.traceparent == traceparent_of(spans.one(SEND))


async def test_a_caller_who_does_not_record_decides_for_the_whole_way() -> None:
    spans = Spans()

    async with running(tracer=spans.tracer) as ingest:
        await ingest.post(traceparent=UNSAMPLED)
        event = ingest.event()

    assert spans.all() == ()
    assert event.traceparent is not None and event.traceparent.startswith(f"00-{TRACE_ID}-")
    assert event.traceparent.endswith("-00")


async def test_what_is_not_sampled_here_is_not_sampled_behind_us() -> None:
    spans = Spans(sampler=ParentBased(root=ALWAYS_OFF))

    async with running(tracer=spans.tracer) as ingest:
        await ingest.post()
        event = ingest.event()
        await ingest.post(traceparent=SAMPLED)

    context = trace_context(event.traceparent)
    assert context is not None and not context.flags & TraceFlags.SAMPLED
    assert [trace_of(span) for span in spans.all()] == [TRACE_ID] * 2


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [(EVENT.replace(TOKEN, "wrong-token"), 403, "not_our_portal"), (b"", 422, "empty_body")],
)
async def test_a_refused_call_has_its_reason_and_is_no_error_of_ours(body: Any, status: int, slug: str) -> None:
    spans = Spans()

    async with running(tracer=spans.tracer) as ingest:
        answer = await ingest.post(body)

    (span,) = spans.all()
    assert answer.status_code == status
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/bitrix24",
        "http.response.status_code": status,
        "error.type": slug,
    }
    assert span.status.status_code is StatusCode.UNSET


class GoneProducer(MemoryProducer):
    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        raise QueueUnavailable("it is gone")

    async def send(self, stream: str, record: Record) -> Any:
        raise QueueUnavailable("it is gone")


class GoneQueue(MemoryQueue):
    def producer(self) -> MemoryProducer:
        return GoneProducer(self)


async def test_what_can_not_be_kept_is_an_error() -> None:
    spans = Spans()

    async with running(GoneQueue(), tracer=spans.tracer) as ingest:
        answer = await ingest.post()

    call, send = spans.one(CALL), spans.one(SEND)
    assert answer.status_code == 503
    assert (call.status.status_code, send.status.status_code) == (StatusCode.ERROR, StatusCode.ERROR)
    assert (send.attributes or {})["error.type"] == "not_kept"


async def test_a_quarantined_call_keeps_its_context() -> None:
    spans = Spans()

    async with running(tracer=spans.tracer, max_depth=6) as ingest:
        with capture_logs() as lines:
            await ingest.post(EVENT + "&data[a][b][c][d][e][f][g]=1")
        (record,) = ingest.records(".quarantine")

    send = spans.one(SEND)
    assert (send.attributes or {})["forebay.outcome"] == "quarantined"
    assert dict(record.headers)[names.TRACEPARENT].decode() == traceparent_of(send)
    assert [line["trace_id"] for line in lines if "quarantine" in line["event"]] == [trace_of(send)]


async def test_no_secret_of_a_call_is_in_its_spans() -> None:
    spans = Spans()

    async with running(tracer=spans.tracer, auth="url-secret", url_secret="secret-of-the-url-0123") as ingest:
        answer = await ingest.post(path="/bitrix24/secret-of-the-url-0123/rule?x=secret-of-the-url-0123")

    told = "".join(span.to_json() for span in spans.all())
    assert answer.status_code == 200 and len(spans.all()) == 2
    assert not [secret for secret in (TOKEN, "accessible", "secret-of-the-url") if secret in told]


async def test_probes_and_looks_have_no_spans() -> None:
    spans = Spans()

    async with running(tracer=spans.tracer) as ingest:
        for path in ("/live", "/ready", "/metrics", "/bitrix24"):
            await ingest.conductor.simulate_get(path)

    assert spans.all() == ()


async def test_without_a_tracer_the_callers_context_is_passed_on() -> None:
    async with running() as ingest:
        await ingest.post(traceparent=SAMPLED)

        assert ingest.event().traceparent == SAMPLED


class OutProducer(MemoryProducer):
    """Takes nothing for as long as its queue says so."""

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        if isinstance(self._queue, OutQueue) and self._queue.is_out:
            raise QueueUnavailable("it is gone")
        super().submit(stream, record, delivery)

    async def check(self) -> None:
        if isinstance(self._queue, OutQueue) and self._queue.is_out:
            raise QueueUnavailable("it is gone")


class OutQueue(MemoryQueue):
    is_out = False

    def producer(self) -> MemoryProducer:
        return OutProducer(self)


async def test_what_waited_in_the_spool_arrives_in_its_trace(tmp_path: Path) -> None:
    spans, queue = Spans(), OutQueue()

    async with running(queue, spool=Spool(tmp_path, 1 << 30), data_dir=tmp_path, tracer=spans.tracer) as ingest:
        queue.is_out = True
        await ingest.post(traceparent=SAMPLED)
        queue.is_out = False
        async with asyncio.timeout(30):
            while len(spans.named(SEND)) < 2 or not ingest.records():
                await asyncio.sleep(0.01)

        (record,) = ingest.records()
    to_spool, from_spool = spans.named(SEND)
    assert (to_spool.attributes or {})["forebay.outcome"] == "spooled"
    assert (from_spool.kind, trace_of(from_spool), parent_of(from_spool)) == (
        SpanKind.CLIENT,
        TRACE_ID,
        id_of(to_spool),
    )
    assert dict(record.headers)[names.TRACEPARENT].decode() == traceparent_of(to_spool)
