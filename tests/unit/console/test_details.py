"""What is shown of a letter: with the key also what was sealed, and never a secret or a terminal's command."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from orjson import loads

from forebay.console.letters.details import show_details
from forebay.console.letters.letters import dead_letter, quarantined
from forebay.ingest.seal import Sealer
from forebay.queues.contract import PlacedRecord, Record, StoredRecord
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.event import Body, PortalEvent

KEY = bytes(range(32))


def stored(record: Record) -> StoredRecord:
    return PlacedRecord(
        key=record.key,
        value=record.value,
        timestamp_ms=record.timestamp_ms,
        headers=record.headers,
        stream="s",
        partition=0,
        offset=0,
    )


def a_sealed_call(body: bytes) -> StoredRecord:
    sealed = Sealer({"k1": KEY}).seal_whole(body, "q-1")
    assert sealed is not None
    headers = (
        (names.QUARANTINE_ID, b"q-1"),
        (names.QUARANTINE_KEY_ID, b"k1"),
        (names.QUARANTINE_NONCE, sealed.nonce),
    )
    return stored(Record(key="p.example", value=sealed.ciphertext, timestamp_ms=5, headers=headers))


def test_a_sealed_body_is_opened_with_its_key_and_shown_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    letter = quarantined(a_sealed_call(b"a=1&auth[access_token]=hunter2&b=2"), codec())

    show_details([letter], {"k0": bytes(32), "k1": KEY}, codec(), as_json=True)

    shown = loads(capsys.readouterr().out)
    assert shown["body"] == "a=1&auth[access_token]=&b=2"
    assert (shown["sealed_with"], shown["unreadable"]) == ("k1", None)


@pytest.mark.parametrize(
    ("keys", "told"),
    [({}, "sealed with key 'k1', which seal_keys does not have"), ({"k1": bytes(32)}, "is not the one that sealed")],
)
def test_a_sealed_body_without_its_key_says_which_is_missing(
    capsys: pytest.CaptureFixture[str], keys: dict[str, bytes], told: str
) -> None:
    show_details([quarantined(a_sealed_call(b"a=1"), codec())], keys, codec(), as_json=True)

    shown = loads(capsys.readouterr().out)
    assert shown["body"] is None
    assert told in shown["unreadable"]


def test_a_page_has_the_events_address_and_nothing_that_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str], event: Callable[..., PortalEvent], dead_record: Callable[..., Record]
) -> None:
    made = replace(event(1), path="/rule", query="deal=7", body=lambda: Body(fields={"data[A]": "\x9b31m"}))

    show_details([dead_letter(stored(dead_record(made)), codec())], {}, codec(), as_json=False)

    page = capsys.readouterr().out
    assert "path: /rule\nquery: deal=7" in page
    assert "\\x9b31m" in page
    assert page.replace("\n", "").isprintable()
