"""A tracer whose spans stay in memory."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

from forebay.queues.tracing.otel import OtelTracer

TOPIC = "bitrix24.events"

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
#: Of a caller whose trace is recorded, and of one whose trace is not.
SAMPLED = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
UNSAMPLED = f"00-{TRACE_ID}-00f067aa0ba902b7-00"


class Spans:
    """Those that have ended."""

    def __init__(self, sampler: Sampler = DEFAULT_ON, system: str = "memory") -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = OtelTracer(self.provider, system=system, topic=TOPIC)

    def all(self) -> Sequence[ReadableSpan]:
        """In the order in which they ended."""
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of that name."""
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of that name."""
        (span,) = self.named(name)
        return span


def context_of(span: ReadableSpan) -> SpanContext:
    """It always has one."""
    context = span.get_span_context()
    assert context is not None
    return context


def trace_of(span: ReadableSpan) -> str:
    """The id of its trace."""
    return format_trace_id(context_of(span).trace_id)


def parent_of(span: ReadableSpan) -> str:
    """The id of the span that it is in; empty for a root."""
    return format_span_id(span.parent.span_id) if span.parent else ""


def id_of(span: ReadableSpan) -> str:
    """Its own id."""
    return format_span_id(context_of(span).span_id)


def traceparent_of(span: ReadableSpan) -> str:
    """The header that names it."""
    return f"00-{trace_of(span)}-{id_of(span)}-{int(context_of(span).trace_flags):02x}"
