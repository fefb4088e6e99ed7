"""What a command prints must arrive, or its end says that it did not."""

import errno
import os
import sys
from collections.abc import Callable
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, TextIO

from forebay.console.errors import FAILED
from forebay.processors.printing import SHOWN_AS_CODES

from .output import note


class _Watched(FileIO):
    """Keeps the error that it has raised: among many errors it tells which one is about what is printed."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """As in `io`."""
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


def printed(work: Callable[[], int]) -> int:
    """Do the work, and give its status; where standard output does not take everything, that of a failure.

    A reader that has gone, as `head` does, has had enough: that is told by the status alone.
    """
    stream: TextIO | None = sys.stdout
    if not isinstance(stream, TextIOWrapper):
        # There is none, or somebody has caught it.
        return work()
    raw = _Watched(stream.fileno(), "wb", closefd=False)
    buffer, is_terminal = BufferedWriter(raw), stream.isatty()
    # Python's own choices, the second one in the locale C: neither was asked for.
    errors = SHOWN_AS_CODES if stream.errors in ("strict", "surrogateescape") else stream.errors
    sys.stdout = TextIOWrapper(buffer, stream.encoding, errors, line_buffering=is_terminal)
    try:
        status = _status_of(work)
        sys.stdout.flush()
    except OSError as error:
        if error is not raw.error:
            raise
    if raw.error is None:
        return status
    _let_go(raw)
    if raw.error.errno != errno.EPIPE:
        note(f"forebay: standard output did not take everything: {raw.error.strerror}")
    return FAILED


def _status_of(work: Callable[[], int]) -> int:
    try:
        return work()
    except SystemExit as ended:
        if isinstance(ended.code, int | None):
            return ended.code or 0
        raise


def _let_go(raw: FileIO) -> None:
    # Otherwise Python tries once more as it ends, and says so.
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), raw.fileno())
