"""Where the rooms' logs go: to standard error, readable on a terminal, JSON lines otherwise."""

import logging
import sys

import structlog

from .output import on_terminal


def set_up_logs(*, readable: bool | None = None) -> None:
    """Set up structlog, and the standard library's logging for what others write. Call once in a process."""
    pretty = on_terminal(sys.stderr) if readable is None else readable
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if pretty
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(() if pretty else (structlog.processors.format_exc_info,)),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
