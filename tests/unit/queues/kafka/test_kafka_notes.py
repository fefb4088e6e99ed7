"""A note in a commit's metadata."""

import pytest
from confluent_kafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from forebay.queues.errors import Unsupported
from forebay.queues.kafka.notes import NOTE_BYTES, encode, of


@given(st.binary(max_size=NOTE_BYTES))
def test_a_note_comes_back_from_its_metadata(note: bytes) -> None:
    metadata = encode(note)

    assert of(TopicPartition("events", 0, 7, metadata)) == note
    assert metadata.isascii()
    assert len(metadata) < 4096


def test_a_note_that_is_too_long_is_refused_and_none_is_no_metadata() -> None:
    with pytest.raises(Unsupported, match=str(NOTE_BYTES)):
        encode(bytes(NOTE_BYTES + 1))

    assert encode(b"") == ""


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_metadata_that_is_not_ours_is_no_note(metadata: str) -> None:
    assert of(TopicPartition("events", 0, 7, metadata)) == b""


def test_a_commit_without_metadata_has_no_note() -> None:
    assert of(TopicPartition("events", 0, 7)) == b""
