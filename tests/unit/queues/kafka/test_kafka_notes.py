"""A note in a commit's metadata."""

import base64

import pytest
from confluent_kafka import TopicPartition
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from forebay.queues.errors import Unsupported
from forebay.queues.kafka.notes import NOTE_BYTES, Notes

NOTES = Notes("VGvNxRcAS7G-gwkPF6T6Jw")


def of(metadata: str | None = None, notes: Notes = NOTES) -> bytes:
    return notes.of(
        TopicPartition("events", 0, 7, metadata) if metadata is not None else TopicPartition("events", 0, 7)
    )


@given(st.binary(max_size=NOTE_BYTES))
@example(bytes(NOTE_BYTES))
def test_a_note_comes_back_from_its_metadata_and_in_no_other_topic(note: bytes) -> None:
    metadata = NOTES.encode(note)

    assert of(metadata) == note
    assert metadata.isascii()
    assert len(metadata) < 4096
    assert of(metadata, Notes("nOtRx2WxQ6yOLjeTSLbDKg")) == b""


@given(st.binary(max_size=NOTE_BYTES))
def test_what_a_version_wrote_that_named_no_topic_is_a_note(note: bytes) -> None:
    assert of("fb1:" + base64.b64encode(note).decode()) == note


def test_a_note_that_is_too_long_is_refused_and_none_is_no_metadata() -> None:
    with pytest.raises(Unsupported, match=str(NOTE_BYTES)):
        NOTES.encode(bytes(NOTE_BYTES + 1))

    assert NOTES.encode(b"") == ""


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_metadata_that_is_not_ours_is_no_note(metadata: str) -> None:
    assert of(metadata) == b""


def test_a_commit_without_metadata_has_no_note() -> None:
    assert of() == b""


def test_what_is_ignored_is_told_by_its_place_and_nothing_of_it_is_shown() -> None:
    with capture_logs() as logs:
        of("somebody else's")
        of("fb1:somebody else's")
        of(NOTES.encode(b"note"), Notes("nOtRx2WxQ6yOLjeTSLbDKg"))

    assert ["not written by Forebay" in log["event"] for log in logs] == [True, True, False]
    assert "of another topic" in logs[2]["event"]
    assert [(log["log_level"], log["topic"], log["partition"], log["offset"]) for log in logs] == [
        ("warning", "events", 0, 7)
    ] * 3
    assert "somebody" not in str(logs)
