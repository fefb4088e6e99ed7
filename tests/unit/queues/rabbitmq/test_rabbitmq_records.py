"""Records and entries as bodies of messages."""

import pytest

from forebay.queues.contract import Record
from forebay.queues.errors import RecordRefused
from forebay.queues.rabbitmq.logs import birth, entry, group_log
from forebay.queues.rabbitmq.records import MAX_RECORD_BYTES, packed, placed


def test_a_body_of_somebody_else_is_no_record() -> None:
    assert placed("events", 0, 7, b"") is None
    assert placed("events", 0, 7, b"{}") is None
    assert placed("events", 0, 7, birth()) is None


def test_a_record_comes_back() -> None:
    sent = Record(key="портал", value=b"\x00value", timestamp_ms=-5, headers=(("a", b""), ("a", b"\xff")))

    found = placed("events", 3, 7, entry(b"12345678", 1, packed(sent)))

    assert found is not None
    assert (found.key, found.value, found.timestamp_ms, found.headers) == (
        sent.key,
        sent.value,
        sent.timestamp_ms,
        sent.headers,
    )
    assert (found.stream, found.partition, found.offset) == ("events", 3, 7)


@pytest.mark.parametrize(
    "record",
    [
        Record(key="\ud800", value=b"", timestamp_ms=0),
        Record(key="a", value=b"", timestamp_ms=0, headers=(("\ud800", b""),)),
        Record(key="a", value=b"", timestamp_ms=2**63),
        Record(key="a", value=bytes(MAX_RECORD_BYTES), timestamp_ms=0),
    ],
    ids=["key", "header", "time", "size"],
)
def test_what_can_never_be_kept_is_refused(record: Record) -> None:
    with pytest.raises(RecordRefused):
        packed(record)


def test_the_longest_names_are_names_of_queues() -> None:
    names = {group_log("s" * 200, group) for group in ("g" * 200, "h" * 200)}

    assert len(names) == 2
    assert all(len(name) <= 255 for name in names)
