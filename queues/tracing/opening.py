"""Whether there are traces, and where they go: by OpenTelemetry's own variables, which every SDK reads."""

import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from forebay.queues.opening import scheme_of
from forebay.queues.settings import QueueSettings
from forebay.schemas.logger import get_logger

from .contract import Tracer
from .names import SYSTEMS

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_log = get_logger(__name__)

#: With neither of them there are no traces.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_SPOKEN = "http/protobuf"
_NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")


def open_tracer(settings: QueueSettings, service: str, environ: Mapping[str, str] = os.environ) -> Tracer | None:
    """The tracer of this process, or None where no traces are wanted or none can be made, which the log says.

    Call it after a fork: its thread doesn't cross one. Events matter more than traces, so it raises nothing.
    """
    if not is_traced(environ) or not _can_be_sent(environ):
        return None
    try:
        return _opened(settings, service, environ)
    # Whatever OpenTelemetry does not like about its variables: events come all the same.
    except Exception as error:
        _log.error("there are no traces: OpenTelemetry can't be set up", error=str(error))
        return None


def is_traced(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether traces are wanted."""
    is_disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    return any(environ.get(name) for name in _ENDPOINTS) and not is_disabled and exporter == "otlp"


def _can_be_sent(environ: Mapping[str, str]) -> bool:
    protocol = next((given for name in _PROTOCOLS if (given := environ.get(name, "").strip())), _SPOKEN)
    if protocol != _SPOKEN:
        _log.warning(f"there are no traces: of OTLP we speak {_SPOKEN}", asked=protocol)
        return False
    if not all(map(_is_there, _NEEDED)):
        _log.warning("there are no traces: pip install 'forebay[otel]', or take OTEL_EXPORTER_OTLP_ENDPOINT away")
        return False
    return True


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _opened(settings: QueueSettings, service: str, environ: Mapping[str, str]) -> Tracer:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    from .otel import OtelTracer

    # A header that it can't read it would log as it is, and what stands there is a login.
    logging.getLogger("opentelemetry.util.re").addFilter(_without_arguments)
    scheme = scheme_of(settings.queue_url)
    provider = trace.get_tracer_provider()
    # The handlers' own module, or OpenTelemetry's launcher, may have set one up: then there is one way out for all.
    if not isinstance(provider, TracerProvider):
        provider = _provider(service, environ)
        trace.set_tracer_provider(provider)
    return OtelTracer(provider, system=SYSTEMS.get(scheme, scheme), topic=settings.topic)


def _without_arguments(record: logging.LogRecord) -> bool:
    record.args = tuple("***" for _ in record.args) if isinstance(record.args, tuple) else ("***",)
    return True


def _provider(service: str, environ: Mapping[str, str]) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    is_named = environ.get("OTEL_SERVICE_NAME") or f"{SERVICE_NAME}=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if is_named else {SERVICE_NAME: service})
    # We end it within a bound; at an exit that came otherwise nobody waits half a minute for a collector that hangs.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    # Spans wait in a queue of a fixed length; what is more than that is dropped, and nobody waits.
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
