"""Our own lines of the log: written as their process was told, whatever an application makes of structlog."""

from collections.abc import Sequence
from typing import cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger of a module. It writes by structlog's settings, and once `write_by` was called by those alone."""
    return cast(FilteringBoundLogger, _Logger(name))


def write_by(writer: object, processors: Sequence[Processor], wrapper_class: type[FilteringBoundLogger]) -> None:
    """Write all lines of ours by these from now on.

    An application has structlog for itself as well: its processors may want words that our lines don't have, and
    raise, and they hide no secrets. Neither may happen to a line of ours.
    """
    _Logger.ours = structlog.wrap_logger(writer, processors, wrapper_class, dict)


class _Logger:
    """Is told anew by each call what it writes by, so that it may be made before anybody has said."""

    ours: object | None = None

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> object:
        return getattr(_Logger.ours or structlog.get_logger(self._name), method)
