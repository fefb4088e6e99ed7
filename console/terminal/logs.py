"""Where the logs go, those of libraries too: to standard error, readable on a terminal, JSON lines otherwise."""

import logging
import sys
from contextlib import suppress

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

from forebay.processors.printing import lossy
from forebay.schemas.logger import write_by

from .log_redaction import hide_secrets
from .output import on_terminal

#: librdkafka's own words. How much it says is its property `log_level`.
_KAFKA_CLIENT = "forebay.queues.kafka.client"


def set_up_logs(*, readable: bool | None = None) -> None:
    """Set up our own lines, and structlog and the standard library's logging for what others write. Idempotent.

    From here on standard error keeps nobody waiting.
    """
    sys.stderr = lossy(sys.stderr)
    pretty = on_terminal(sys.stderr) if readable is None else readable
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if pretty
        else structlog.processors.JSONRenderer()
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace,
    ]
    # As a text before it is looked through: an error may quote whatever it was about.
    last: list[Processor] = [structlog.processors.format_exc_info, hide_secrets, renderer]
    wrapper_class = structlog.make_filtering_bound_logger(logging.INFO)
    write_by(_StandardError(sys.stderr), [*shared, *last], wrapper_class)
    # What a handlers' module says by structlog has the same form, until it says otherwise.
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=wrapper_class,
        logger_factory=lambda *_: _StandardError(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _set_up_others([structlog.stdlib.add_logger_name, *shared], last)


class _StandardError(structlog.PrintLogger):
    """A full disk or a reader that is gone costs the line, as in `logging`: never the event it was about."""

    def msg(self, message: str) -> None:
        """Print it."""
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def _set_up_others(first: list[Processor], last: list[Processor]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(foreign_pre_chain=first, processors=[ProcessorFormatter.remove_processors_meta, *last])
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger(_KAFKA_CLIENT).setLevel(logging.DEBUG)
    logging.captureWarnings(True)


def add_trace(logger: object, method: str, words: EventDict) -> EventDict:
    """The trace that the line belongs to, where somebody traces; a line that names its own keeps it."""
    # Not imported: where nobody has, there is no trace either.
    api = sys.modules.get("opentelemetry.trace")
    # While it is being imported it may say something, and is not whole yet.
    if api is None or not hasattr(api, "get_current_span"):
        return words
    span = api.get_current_span()
    # A timer or a task that a call has set up outlives its span, and belongs to no call any more.
    if getattr(span, "end_time", None) is not None:
        return words
    context = span.get_span_context()
    if context.is_valid and "trace_id" not in words:
        words["trace_id"] = api.format_trace_id(context.trace_id)
        words["span_id"] = api.format_span_id(context.span_id)
    return words
