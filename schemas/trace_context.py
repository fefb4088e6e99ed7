"""The trace context that travels with an event: the `traceparent` of W3C Trace Context, version 00."""

import re
from typing import NamedTuple

#: Ids of zeros only are invalid.
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


class TraceContext(NamedTuple):
    """Where in which trace something began, in hexadecimal digits, and its flags: the first says recorded."""

    trace_id: str
    span_id: str
    flags: int

    @property
    def traceparent(self) -> str:
        """The header that says so."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def trace_context(traceparent: str | bytes | None) -> TraceContext | None:
    """What the header says; None when there is none that is valid."""
    text = traceparent.decode("latin-1") if isinstance(traceparent, bytes) else traceparent
    found = _TRACEPARENT.fullmatch(text) if text else None
    return TraceContext(found[1], found[2], int(found[3], 16)) if found else None


def trace_words(header: str | bytes | None) -> dict[str, str]:
    """The trace's id as a word of a log line; empty when there is no trace."""
    found = trace_context(header)
    return {"trace_id": found.trace_id} if found else {}
