"""Spans by OpenTelemetry. Nothing else of ours imports it."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from forebay.queues.contract import Record, StoredRecord
from forebay.schemas.logger import get_logger
from forebay.schemas.names import CE_ID, CE_TYPE, TRACEPARENT
from forebay.schemas.trace_context import TraceContext, trace_context

from . import names
from .contract import Tried

_log = get_logger(__name__)

#: At a stop, what was not sent yet gets so long: a collector that hangs must not use up the grace of events.
_CLOSE_S = 1.0

#: From here on it is our fault, and not the caller's.
_SERVER_ERROR = 500

_ROOT = Context()

Attributes = dict[str, AttributeValue]


class OtelCall:
    """As in the contract."""

    def __init__(self, tracer: "OtelTracer", span: Span) -> None:
        self._tracer, self._span = tracer, span
        self._sending: Span | None = None

    def sends(self) -> str:
        """As in the contract."""
        about = self._tracer.about("send", self._tracer.topic)
        self._sending = self._tracer.start(
            f"send {self._tracer.topic}", SpanKind.PRODUCER, about, trace.set_span_in_context(self._span, _ROOT)
        )
        made = self._sending.get_span_context()
        trace_id, span_id = trace.format_trace_id(made.trace_id), trace.format_span_id(made.span_id)
        return TraceContext(trace_id, span_id, made.trace_flags).traceparent

    def kept(self, *, id: str, portal: str, outcome: str) -> None:
        """As in the contract."""
        told = {names.MESSAGE_ID: id, names.PORTAL: portal, names.OUTCOME: outcome}
        if self._sending is not None:
            self._sending.set_attributes(told)
        self._span.set_attributes({names.PORTAL: portal, names.OUTCOME: outcome, names.STATUS: 200})

    def refused(self, status: int, slug: str) -> None:
        """As in the contract."""
        self._span.set_attributes({names.STATUS: status, names.ERROR_TYPE: slug})
        for span in filter(None, (self._sending, self._span if status >= _SERVER_ERROR else None)):
            _fail(span, slug)

    def end(self) -> None:
        """The call is answered."""
        if self._sending is not None:
            _end(self._sending)


class OtelTry:
    """As in the contract."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def ended(self, outcome: str, error_class: str = "") -> None:
        """As in the contract."""
        self._span.set_attribute(names.OUTCOME, outcome)
        if error_class:
            _fail(self._span, error_class)


class OtelTracer:
    """As in the contract. The provider ends with it."""

    def __init__(self, provider: trace.TracerProvider, *, system: str, topic: str) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("forebay")
        self._system, self.topic = system, topic

    @contextmanager
    def call(self, path: str, traceparent: str | None) -> Iterator[OtelCall]:
        """As in the contract."""
        # No url.path and no url.query: they may be a secret.
        about: Attributes = {names.METHOD: "POST", names.ROUTE: path}
        parent = _within(_context_of(traceparent))
        span = self.start(f"POST {path}", SpanKind.SERVER, about, parent)
        call = OtelCall(self, span)
        with _current(span):
            try:
                yield call
            finally:
                call.end()

    @contextmanager
    def tries(self, tried: Tried) -> Iterator[OtelTry]:
        """As in the contract."""
        contexts = _contexts_of(tried.records)
        topic = tried.records[-1].stream
        parent = next((one for one in contexts if one.trace_flags.sampled), contexts[0] if contexts else None)
        links = [Link(context) for context in contexts]
        span = self.start(f"process {topic}", SpanKind.CONSUMER, {}, _within(parent), links)
        if span.is_recording():
            span.set_attributes(self.about("process", topic) | self._about_try(tried))
        with _current(span):
            yield OtelTry(span)

    @contextmanager
    def sends(self, stream: str, record: Record) -> Iterator[None]:
        """As in the contract."""
        context = _context_of(_header(record, TRACEPARENT))
        about = self.about("send", stream) | {names.PORTAL: record.key}
        # No PRODUCER: that is the span whose context the record carries.
        links = [Link(context)] if context else []
        span = self.start(f"send {stream}", SpanKind.CLIENT, about, _within(context), links)
        try:
            yield
        except BaseException as error:
            _fail(span, type(error).__qualname__)
            raise
        finally:
            _end(span)

    def parks(self, stream: str, record: StoredRecord, attempt: int, delay_s: float | None) -> None:
        """As in the contract."""
        context = _context_of(_header(record, TRACEPARENT))
        about: Attributes = {names.SYSTEM: self._system, names.DESTINATION: stream, names.ATTEMPT: attempt}
        about |= self._about_record(record) | ({} if delay_s is None else {names.DELAY: delay_s})
        _end(self.start(f"park {stream}", SpanKind.INTERNAL, about, _within(context)))

    def start(
        self, name: str, kind: SpanKind, attributes: Attributes, context: Context, links: Sequence[Link] = ()
    ) -> Span:
        """A span that has begun. Samplers see the attributes."""
        try:
            return self._tracer.start_span(name, context, kind, attributes, links)
        # Samplers and processors of a provider that isn't ours run in here, and events matter more than traces.
        except Exception as error:
            _log.error("a span is missing: OpenTelemetry failed", error=repr(error))
            return NonRecordingSpan(trace.get_current_span(context).get_span_context())

    def about(self, operation: str, stream: str) -> Attributes:
        """What every span of an operation of the queue says."""
        return {
            names.SYSTEM: self._system,
            names.OPERATION: operation,
            names.OPERATION_TYPE: operation,
            names.DESTINATION: stream,
        }

    def _about_try(self, tried: Tried) -> Attributes:
        about: Attributes = {
            names.GROUP: tried.group,
            names.HANDLER: tried.handler,
            names.ATTEMPT: tried.attempt,
            **self._about_record(tried.records[-1]),
        }
        if tried.batch is not None:
            about[names.BATCH] = tried.batch
        return about | ({names.REPLAYED: True} if tried.replayed else {})

    def _about_record(self, record: StoredRecord) -> Attributes:
        headers = dict(record.headers)
        return {
            names.PORTAL: record.key,
            names.PARTITION: str(record.partition),
            names.KAFKA_OFFSET if self._system == "kafka" else names.OFFSET: record.offset,
            names.MESSAGE_ID: _text(headers.get(CE_ID)),
            names.EVENT: _text(headers.get(CE_TYPE)),
        }

    async def close(self) -> None:
        """As in the contract. Idempotent."""
        done, loop = asyncio.Event(), asyncio.get_running_loop()

        def let_go() -> None:
            self._let_go()
            # The loop may have gone on, and be closed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

        # A thread of the pool would be waited for when Python ends.
        threading.Thread(target=let_go, name="forebay-traces-end", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await done.wait()

    def _let_go(self) -> None:
        # One that the handlers' module has made, too: its hook at Python's end would wait for a collector that hangs.
        if isinstance(self._provider, TracerProvider):
            self._provider.shutdown()


@contextmanager
def _current(span: Span) -> Iterator[None]:
    """The span is the current one meanwhile, and has ended afterwards. Errors are told by who knows more of them."""
    try:
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            yield
    finally:
        _end(span)


def _end(span: Span) -> None:
    try:
        span.end()
    # As at its start.
    except Exception as error:
        _log.error("a span is missing: OpenTelemetry failed", error=repr(error))


def _fail(span: Span, kind: str) -> None:
    span.set_attribute(names.ERROR_TYPE, kind)
    span.set_status(Status(StatusCode.ERROR))


def _context_of(header: str | bytes | None) -> SpanContext | None:
    found = trace_context(header)
    if found is None:
        return None
    flags = TraceFlags(found.flags)
    return SpanContext(int(found.trace_id, 16), int(found.span_id, 16), is_remote=True, trace_flags=flags)


def _contexts_of(records: Sequence[StoredRecord]) -> list[SpanContext]:
    return [found for one in records if (found := _context_of(_header(one, TRACEPARENT)))]


def _within(parent: SpanContext | None) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(parent), _ROOT) if parent else _ROOT


def _header(record: Record | StoredRecord, wanted: str) -> bytes | None:
    return next((value for name, value in record.headers if name == wanted), None)


def _text(value: bytes | None) -> str:
    return value.decode(errors="replace") if value else ""
