"""Records and entries as bodies of messages."""

from collections.abc import Callable
from functools import partial

import pytest

from forebay.queues.contract import Record
from forebay.queues.errors import RecordRefused
from forebay.queues.rabbitmq import logs, places
from forebay.queues.rabbitmq.logs import group_log
from forebay.queues.rabbitmq.records import MAX_RECORD_BYTES, packed, record


def test_a_body_of_somebody_else_is_no_record() -> None:
    for body in (b"", b"{}", logs.birth(), places.birth(), places.mark()):
        assert record("events", 0, 7, body) is None


@pytest.mark.parametrize("wrapped", [partial(places.entry, b"12345678", 1, 1), partial(logs.entry, b"12345678", 1)])
def test_a_record_comes_back(wrapped: Callable[[bytes], bytes]) -> None:
    sent = Record(key="портал", value=b"\x00value", timestamp_ms=-5, headers=(("a", b""), ("a", b"\xff")))

    found = record("events", 3, 7, wrapped(packed(sent)))

    assert found is not None
    assert (found.key, found.value, found.timestamp_ms, found.headers) == (
        sent.key,
        sent.value,
        sent.timestamp_ms,
        sent.headers,
    )
    assert (found.stream, found.partition, found.offset) == ("events", 3, 7)


@pytest.mark.parametrize(
    "sent",
    [
        Record(key="\ud800", value=b"", timestamp_ms=0),
        Record(key="a", value=b"", timestamp_ms=0, headers=(("\ud800", b""),)),
        Record(key="a", value=b"", timestamp_ms=2**63),
        Record(key="a", value=bytes(MAX_RECORD_BYTES), timestamp_ms=0),
    ],
    ids=["key", "header", "time", "size"],
)
def test_what_can_never_be_kept_is_refused(sent: Record) -> None:
    with pytest.raises(RecordRefused):
        packed(sent)


def test_the_longest_names_are_names_of_queues() -> None:
    names = {group_log("s" * 200, group) for group in ("g" * 200, "h" * 200)}

    assert len(names) == 2
    assert all(len(name) <= 255 for name in names)
