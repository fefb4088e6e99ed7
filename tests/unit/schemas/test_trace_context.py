"""The trace context that travels with an event."""

import pytest

from forebay.schemas.trace_context import trace_context, trace_words

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("flags", ["00", "01", "03", "ff"])
def test_a_header_is_read_and_written_as_it_was(flags: str) -> None:
    header = f"00-{TRACE_ID}-{SPAN_ID}-{flags}"

    for given in (header, header.encode()):
        context = trace_context(given)
        assert context == (TRACE_ID, SPAN_ID, int(flags, 16))
        assert context is not None and context.traceparent == header


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        b"\xff\xfe",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-01\n",
        f"00-{TRACE_ID}-{SPAN_ID}-01-more",
    ],
)
def test_what_is_not_valid_is_none(header: str | bytes | None) -> None:
    assert trace_context(header) is None
    assert trace_words(header) == {}


def test_a_log_line_has_the_trace_by_its_id() -> None:
    assert trace_words(f"00-{TRACE_ID}-{SPAN_ID}-01") == {"trace_id": TRACE_ID}
