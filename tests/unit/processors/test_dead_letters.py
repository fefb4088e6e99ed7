"""What a dead letter carries."""

from typing import Any

import pytest

from forebay.processors.dead_letters import Circumstances, dead_letter, without_traceback
from forebay.processors.error_texts import error_text, error_traceback
from forebay.queues.contract import PlacedRecord
from forebay.schemas import names
from forebay.schemas.redaction import without_secrets

RECORD = PlacedRecord(
    key="some.bitrix24.ru",
    value=b"\xc3\x01as it was",
    timestamp_ms=1,
    headers=((names.CE_ID, b"7"), (names.DEAD_ERROR, b"of an earlier death"), (names.TRACEPARENT, b"00-1")),
    stream="bitrix24.events",
    partition=3,
    offset=42,
)


def died(error: BaseException, attempts: int = 5) -> Circumstances:
    return Circumstances(
        group="shop", handler="shop:deal_added", attempts=attempts, error=error, at_ms=1_700_000_000_123
    )


def raised(error: Exception) -> Exception:
    secret = "kept-in-a-variable"
    try:
        raise error
    except type(error) as caught:
        assert secret
        return caught


def test_it_has_the_record_as_it_was_and_the_whole_story() -> None:
    letter = dead_letter(RECORD, died(raised(LookupError("no deal 7"))))

    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (RECORD.key, RECORD.value)
    assert headers[names.CE_ID] == b"7"
    assert headers[names.DEAD_TOPIC] == b"bitrix24.events"
    assert headers[names.DEAD_PARTITION] == b"3"
    assert headers[names.DEAD_OFFSET] == b"42"
    assert headers[names.DEAD_GROUP] == b"shop"
    assert headers[names.DEAD_HANDLER] == b"shop:deal_added"
    assert headers[names.DEAD_ATTEMPTS] == b"5"
    assert headers[names.DEAD_ERROR] == b"no deal 7"
    assert headers[names.DEAD_ERROR_CLASS] == b"LookupError"
    assert headers[names.DEAD_AT] == b"2023-11-14T22:13:20.123+00:00"
    assert b"in raised\n    raise error\nLookupError: no deal 7" in headers[names.DEAD_TRACEBACK]
    assert b"kept-in-a-variable" not in headers[names.DEAD_TRACEBACK]
    assert len(headers) == len(letter.headers)


def test_its_context_is_bounded_and_can_be_made_smaller() -> None:
    letter = dead_letter(RECORD, died(raised(ValueError("x" * 1_000_000))))

    assert sum(len(value) for _, value in letter.headers) < 12_000
    assert names.DEAD_TRACEBACK not in dict(without_traceback(letter).headers)


def test_an_error_that_is_no_text_is_kept_all_the_same() -> None:
    letter = dead_letter(RECORD, died(ValueError("\ud800 half a pair")))

    assert dict(letter.headers)[names.DEAD_ERROR] == b"? half a pair"


@pytest.mark.parametrize(
    "text",
    [
        "GET https://a.bitrix24.ru/rest/crm.deal.get?id=7&auth=S3CRET0000 failed",
        "https://a.bitrix24.ru/rest/1/S3CRET0000/crm.deal.get",
        "{'auth': {'access_token': 'S3CRET0000', 'domain': 'a'}}",
        '{"refresh_token":"S3CRET0000"}',
        "auth[application_token]=S3CRET0000&x=1",
        "auth%5Baccess_token%5D=S3CRET0000&x=1",
        "Authorization: Bearer S3CRET0000",
        "postgresql://user:S3CRET0000@host/db",
        "password = S3CRET0000",
        "AUTH_ID=S3CRET0000&AUTH_EXPIRES=3600",
        "{'REFRESH_ID': 'S3CRET0000'}",
    ],
)
def test_secrets_in_an_error_are_taken_out(text: str) -> None:
    letter = dead_letter(RECORD, died(raised(RuntimeError(text))))

    assert b"S3CRET" not in b"".join(value for _, value in letter.headers)
    assert "***" in without_secrets(text)


@pytest.mark.parametrize("cut", [2000, 8000, 65_536])
@pytest.mark.parametrize("secret", ["postgresql://me:{}@host/db", "access_token={}&x=1", "Authorization: Bearer {}"])
def test_a_secret_where_a_text_is_cut_is_taken_out_whole(secret: str, cut: int) -> None:
    rest, whole = "x " * (cut // 2 - 10), secret.format("S3CRET" * 5)

    for text in (rest + whole, whole + " " + rest):
        letter = dead_letter(RECORD, died(raised(RuntimeError(text))))
        assert b"S3" not in b"".join(value for _, value in letter.headers)


@pytest.mark.parametrize("name", ["access_token=", "password = ", "Bearer "])
def test_a_secret_that_is_longer_than_what_is_read_is_taken_out_whole(name: str) -> None:
    letter = dead_letter(RECORD, died(raised(RuntimeError(name + "S3CRET" * 20_000))))

    assert b"S3CRET" not in b"".join(value for _, value in letter.headers)


@pytest.mark.parametrize("text", [ValueError("its own bug"), SystemExit(1), 5])
def test_an_error_that_can_t_be_shown_is_named(text: object) -> None:
    class Faulty(Exception):
        def __str__(self) -> Any:
            if isinstance(text, BaseException):
                raise text
            return text

        def __getattribute__(self, name: str) -> Any:
            if name in {"__notes__", "__suppress_context__"}:
                raise KeyError(name)
            return super().__getattribute__(name)

    assert error_text(Faulty()) == "<Faulty: its text can't be shown>"
    assert "Faulty" in error_traceback(Faulty())


def test_an_error_without_secrets_stays_as_it_is() -> None:
    text = "deal 7 of author 5: field UF_AUTHOR is missing (token of the kind 'x')"

    assert without_secrets(text) == text
