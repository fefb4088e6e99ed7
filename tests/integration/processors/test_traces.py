"""What the spans of a worker say, and that handlers are inside of them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from forebay import Handlers, PortalEvent, Reject, Retry
from forebay.schemas import names
from tests.tracing.spans import SAMPLED, TRACE_ID, UNSAMPLED, Spans, id_of, parent_of, trace_of
from tests.waiting import until

TOPIC = "bitrix24.events"
PROCESS = f"process {TOPIC}"
SENDER = "00f067aa0ba902b7"


def headers(traceparent: str = SAMPLED) -> dict[str, Any]:
    return {
        "headers": ((names.CE_ID, b"the-id"), (names.CE_TYPE, b"a.type"), (names.TRACEPARENT, traceparent.encode()))
    }


def links_of(span: ReadableSpan) -> list[str]:
    return [trace.format_span_id(link.context.span_id) for link in span.links]


async def test_a_try_is_in_the_trace_of_its_event(station: Any, handlers: Handlers) -> None:
    spans = Spans(system="kafka")

    @handlers.on("*")
    async def shop(event: PortalEvent) -> None: ...

    station.start(tracer=spans.tracer)
    await station.send("a.example", **headers())
    await until(lambda: spans.named(PROCESS))

    span = spans.one(PROCESS)
    assert (trace_of(span), parent_of(span), links_of(span), span.kind) == (
        TRACE_ID,
        SENDER,
        [SENDER],
        SpanKind.CONSUMER,
    )
    partition = (span.attributes or {})["messaging.destination.partition.id"]
    assert dict(span.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": TOPIC,
        "messaging.destination.partition.id": partition,
        "messaging.kafka.offset": 0,
        "messaging.consumer.group.name": "forebay",
        "messaging.message.id": "the-id",
        "forebay.event": "a.type",
        "forebay.portal": "a.example",
        "forebay.handler": handlers.find("event", "X").name,  # type: ignore[union-attr]
        "forebay.attempt": 1,
        "forebay.outcome": "done",
    }
    assert isinstance(partition, str) and partition.isdigit()


@pytest.mark.parametrize("how", ["at once", "after a wait", "in a thread"])
async def test_a_handler_is_inside_of_its_span(station: Any, handlers: Handlers, how: str) -> None:
    spans, seen = Spans(), dict[str, str]()

    def look(event: PortalEvent) -> None:
        seen[event.portal] = trace.format_span_id(trace.get_current_span().get_span_context().span_id)

    async def at_once(event: PortalEvent) -> None:
        look(event)

    async def after_a_wait(event: PortalEvent) -> None:
        await asyncio.sleep(0)
        look(event)

    def in_a_thread(event: PortalEvent) -> None:
        look(event)

    handlers.on("*")({"at once": at_once, "after a wait": after_a_wait, "in a thread": in_a_thread}[how])
    station.start(tracer=spans.tracer)
    await station.send("a.example", **headers())
    await station.send("b.example", **headers())
    await until(lambda: len(spans.named(PROCESS)) == 2)

    assert seen == {str((span.attributes or {})["forebay.portal"]): id_of(span) for span in spans.named(PROCESS)}
    assert not trace.get_current_span().get_span_context().is_valid


async def test_every_try_is_a_span_and_the_letter_keeps_the_context(station: Any, handlers: Handlers) -> None:
    spans = Spans()

    @handlers.on("*", tries=3)
    async def shop(event: PortalEvent) -> None:
        raise ConnectionError("token=S3CRET")

    station.start(tracer=spans.tracer)
    await station.send("a.example", **headers())
    await until(station.dead)
    await until(lambda: spans.named(f"send {TOPIC}.dead"))

    tries, dead = spans.named(PROCESS), spans.one(f"send {TOPIC}.dead")
    assert [(span.attributes or {})["forebay.attempt"] for span in tries] == [1, 2, 3]
    assert {(span.attributes or {})["error.type"] for span in tries} == {"ConnectionError"}
    assert {span.status.status_code for span in tries} == {StatusCode.ERROR}
    assert {(trace_of(span), parent_of(span)) for span in [*tries, dead]} == {(TRACE_ID, SENDER)}
    assert (dead.kind, links_of(dead)) == (SpanKind.CLIENT, [SENDER])
    (letter,) = station.dead()
    assert dict(letter.headers)[names.TRACEPARENT] == SAMPLED.encode()
    assert "S3CRET" not in "".join(span.to_json() for span in spans.all())


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [(Retry(after_s=0.001), "retry", StatusCode.UNSET), (Reject("no such deal"), "rejected", StatusCode.ERROR)],
)
async def test_how_a_try_ended(
    station: Any, handlers: Handlers, error: Exception, outcome: str, status: StatusCode
) -> None:
    spans, left = Spans(), [error]

    @handlers.on("*")
    async def shop(event: PortalEvent) -> None:
        if left:
            raise left.pop()

    station.start(tracer=spans.tracer)
    await station.send("a.example", **headers())
    await until(lambda: spans.named(PROCESS))

    first = spans.named(PROCESS)[0]
    assert (first.attributes or {})["forebay.outcome"] == outcome
    assert first.status.status_code is status


async def test_a_parked_event_comes_back_in_its_trace(station: Any, handlers: Handlers) -> None:
    spans, left = Spans(), [ConnectionError()]

    @handlers.on("*")
    async def shop(event: PortalEvent) -> None:
        if left:
            raise left.pop()

    station.start(tracer=spans.tracer, memory_tries=1, park_first_s=0.01)
    await station.send("a.example", **headers())
    await until(lambda: len(spans.named(PROCESS)) == 2)

    park = spans.one(f"park {TOPIC}.parked")
    assert {(trace_of(span), parent_of(span)) for span in [*spans.named(PROCESS), park]} == {(TRACE_ID, SENDER)}
    assert (park.attributes or {})["forebay.attempt"] == 1
    assert [(span.attributes or {})["forebay.attempt"] for span in spans.named(PROCESS)] == [1, 2]


async def test_a_batch_is_linked_to_each_of_its_events(station: Any, handlers: Handlers) -> None:
    spans = Spans()

    @handlers.on("*", batch=10, batch_wait_s=0.5)
    async def shop(events: Sequence[PortalEvent]) -> None: ...

    contexts = [UNSAMPLED, *(f"00-{number:032x}-{number:016x}-01" for number in (1, 2))]
    for context in contexts:
        await station.send("a.example", **headers(context))
    station.start(tracer=spans.tracer)
    await until(lambda: spans.named(PROCESS))

    span = spans.one(PROCESS)
    assert (span.attributes or {})["messaging.batch.message_count"] == 3
    assert links_of(span) == [SENDER, f"{1:016x}", f"{2:016x}"]
    # The first of them that is recorded anywhere.
    assert (trace_of(span), parent_of(span)) == (f"{1:032x}", f"{1:016x}")


async def test_what_is_not_sampled_stays_so(station: Any, handlers: Handlers) -> None:
    spans, seen = Spans(), []

    @handlers.on("*")
    async def shop(event: PortalEvent) -> None:
        context = trace.get_current_span().get_span_context()
        seen.append((format_trace_id(context.trace_id), context.trace_flags.sampled))

    station.start(tracer=spans.tracer)
    await station.send("a.example", **headers(UNSAMPLED))
    await until(lambda: seen)

    assert (seen, spans.all()) == ([(TRACE_ID, False)], ())


async def test_an_event_without_a_context_begins_a_trace(station: Any, handlers: Handlers) -> None:
    spans = Spans()

    @handlers.on("*")
    async def shop(event: PortalEvent) -> None: ...

    station.start(tracer=spans.tracer)
    await station.send("a.example")
    await station.send("b.example", headers=((names.TRACEPARENT, b"\xff nonsense"),))
    await until(lambda: len(spans.named(PROCESS)) == 2)

    assert [(parent_of(span), links_of(span)) for span in spans.named(PROCESS)] == [("", [])] * 2


async def test_lines_of_the_log_say_where_and_in_which_trace(station: Any, handlers: Handlers) -> None:
    @handlers.on("*", tries=1)
    async def shop(event: PortalEvent) -> None:
        raise ConnectionError("no")

    with capture_logs([merge_contextvars]) as lines:
        station.start(group="crm")
        await station.send("a.example", name="ONCRMDEALADD", **headers())
        await until(station.dead)

    for said in ("not handled", "given up: dead letter written"):
        (line,) = [line for line in lines if line["event"] == said]
        assert {"portal", "id", "name", "partition", "offset", "attempt", "handler"} <= set(line)
        assert (line["trace_id"], line["group"]) == (TRACE_ID, "crm")


async def test_a_worker_that_is_stopped_ends_its_spans(station: Any, handlers: Handlers) -> None:
    spans, begun = Spans(), asyncio.Event()

    @handlers.on("*")
    async def shop(event: PortalEvent) -> None:
        begun.set()
        await asyncio.sleep(3600)

    worker = station.start(tracer=spans.tracer, drain_s=0.01)
    await station.send("a.example", **headers())
    await begun.wait()
    await station.stop(worker)

    assert spans.named(PROCESS)


async def test_where_events_fold_the_first_and_the_last_are_linked(station: Any, handlers: Handlers) -> None:
    spans = Spans()

    @handlers.on("*", coalesce=lambda event: "one")
    async def shop(event: PortalEvent) -> None: ...

    for number in (1, 2, 3):
        await station.send("a.example", **headers(f"00-{number:032x}-{number:016x}-01"))
    station.start(tracer=spans.tracer)
    await until(lambda: spans.named(PROCESS))

    # Those in between are let go of before anybody is called.
    assert links_of(spans.one(PROCESS)) == [f"{number:016x}" for number in (1, 3)]


class Raising(SpanProcessor):
    """One that the handlers' module might bring, with a fault."""

    def __init__(self, when: str) -> None:
        self._when = when

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._raise("start")

    def on_end(self, span: ReadableSpan) -> None:
        self._raise("end")

    def _raise(self, when: str) -> None:
        if when == self._when:
            raise KeyError("theirs")


@pytest.mark.parametrize("when", ["start", "end"])
async def test_what_a_span_processor_raises_is_no_failure_of_an_event(
    station: Any, handlers: Handlers, when: str
) -> None:
    spans, seen = Spans(), list[str]()
    spans.provider.add_span_processor(Raising(when))

    @handlers.on("*")
    async def shop(event: PortalEvent) -> None:
        seen.append(event.portal)
        if event.portal == "ill.example":
            raise ConnectionError("the portal's API is down")

    worker = station.start(tracer=spans.tracer, tries=3, memory_tries=1, park_first_s=0.001, park_longest_s=0.001)
    for portal in ("ill.example", "well.example"):
        await station.send(portal, **headers())
    await until(lambda: station.dead())
    await until(lambda: station.committed() == 2)
    await station.stop(worker)

    assert sorted(seen) == ["ill.example"] * 3 + ["well.example"]
    assert len(station.dead()) == 1
