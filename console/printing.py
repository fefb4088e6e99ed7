"""What a command prints must arrive, or its end says that it did not."""

import errno
import os
import sys
from collections.abc import Callable
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, TextIO

from .errors import FAILED
from .output import note

#: How a character is printed that the locale's encoding has not: KOI8-R has no dash, and Latin-1 no Cyrillic.
_SHOWN_AS_CODES = "backslashreplace"


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


class _Lossy(FileIO):
    """Takes everything; what has no room, or no reader, is gone."""

    def write(self, data: Any, /) -> int:
        """As in `io`, and never fails."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def let_handlers_print() -> None:
    """What handlers print is for a person or a log, and is there when it happens.

    Where it can't be, as on a full disk, that costs the line, and never the event that was being handled.
    """
    stream: TextIO | None = sys.stdout
    if isinstance(stream, TextIOWrapper):
        stream.flush()
        buffer = BufferedWriter(_Lossy(stream.fileno(), "wb", closefd=False))
        sys.stdout = TextIOWrapper(buffer, stream.encoding, _SHOWN_AS_CODES, line_buffering=True)


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
    errors = _SHOWN_AS_CODES if stream.errors == "strict" else stream.errors
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
