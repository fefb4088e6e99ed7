"""Standard output and error of who calls handlers: what can't be printed costs no event."""

import sys
from contextlib import suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, TextIO

#: How a character is printed that the locale's encoding has not: KOI8-R has no dash, and Latin-1 no Cyrillic.
SHOWN_AS_CODES = "backslashreplace"


class _Lossy(FileIO):
    """Takes everything; what has no room, or no reader, is gone."""

    def write(self, data: Any, /) -> int:
        """As in `io`, and never fails."""
        written: int | None = None
        with suppress(OSError):
            # None for a pipe that is full, and that somebody who has it, too, has made one that nobody waits for.
            written = super().write(data)
        return memoryview(data).nbytes if written is None else written


def let_handlers_print() -> None:
    """What handlers print is for a person or a log, and is there when it happens; tracebacks and warnings, too.

    Where it can't be, as on a full disk, that costs the line, and never the event that was being handled.
    """
    sys.stdout, sys.stderr = _lossy(sys.stdout), _lossy(sys.stderr)


def _lossy(stream: TextIO) -> TextIO:
    if not isinstance(stream, TextIOWrapper):
        # There is none, or somebody has caught it.
        return stream
    with suppress(OSError):
        stream.flush()
    buffer = BufferedWriter(_Lossy(stream.fileno(), "wb", closefd=False))
    return TextIOWrapper(buffer, stream.encoding, SHOWN_AS_CODES, line_buffering=True)
