"""gunicorn's words in our log."""

import traceback
from typing import Any

from gunicorn.glogging import Logger

from forebay.schemas.logger import get_logger


class ServerLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's words in our log."""

    #: gunicorn asks for each request, and looks through its settings each time.
    access_log_enabled = False

    def setup(self, cfg: Any) -> None:
        """Take no handler of gunicorn's: structlog is set up already."""
        self._log = get_logger("forebay.ingest.server")

    def critical(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """As in `logging`."""
        self._log.critical(_filled(msg, args), **_error_of(kwargs))

    def error(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """As in `logging`."""
        self._log.error(_filled(msg, args), **_error_of(kwargs))

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """As in `logging`."""
        self._log.warning(_filled(msg, args), **_error_of(kwargs))

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """As in `logging`."""
        self._log.info(_filled(msg, args))

    def debug(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Says something for each request: left out."""

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """As in `logging`."""
        self.error(msg, *args, exc_info=True)

    def reopen_files(self) -> None:
        """There are none."""

    def close_on_exec(self) -> None:
        """There are no files."""


def _filled(msg: str, args: tuple[Any, ...]) -> str:
    return str(msg) % args if args else str(msg)


def _error_of(kwargs: dict[str, Any]) -> dict[str, Any]:
    # As text: a log that shows a traceback's variables would show a call's tokens.
    return {"traceback": traceback.format_exc()} if kwargs.get("exc_info") else {}
