"""Standard output of who calls handlers: what can't be printed costs no event."""

import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, TextIO

#: How a character is printed that the locale's encoding has not: KOI8-R has no dash, and Latin-1 no Cyrillic.
SHOWN_AS_CODES = "backslashreplace"


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
        sys.stdout = TextIOWrapper(buffer, stream.encoding, SHOWN_AS_CODES, line_buffering=True)
