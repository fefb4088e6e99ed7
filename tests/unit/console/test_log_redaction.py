"""No secret of a portal's call gets into a log line, however it was written there by mistake."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from forebay.console.terminal.log_redaction import hide_secrets
from forebay.ingest.form import parse
from forebay.schemas.form import pairs_of
from forebay.schemas.redaction import without_secrets
from forebay.schemas.secrecy import SECRET_NAMES, Secrecy, secrecy_of
from forebay.schemas.tree import nest

BODIES = sorted((Path(__file__).parents[2] / "data" / "bitrix24").glob("*.txt"))

#: Shorter values are ids and switches; nobody can tell whether a line has them.
TELLING_CHARS = 6

Shape = Callable[[bytes], Any]


def fields_of(body: bytes) -> dict[str, str]:
    return dict(parse(body, 5000).fields)


def tree_of(fields: dict[str, str]) -> Any:
    return nest(tuple(fields), list(fields.values()))


def secrets_of(body: bytes) -> set[str]:
    """What sealing takes out of the body."""
    found = {value for path, value in fields_of(body).items() if secrecy_of(path) is not Secrecy.OPEN}
    return {value for value in found if len(value) >= TELLING_CHARS}


def error_of(body: bytes) -> ValueError:
    """As a handler would raise it, about something that it got."""
    try:
        raise ValueError(f"no good: {fields_of(body)}")
    except ValueError as error:
        return error


def deep(body: bytes) -> Any:
    nested: Any = fields_of(body)
    for _ in range(20):
        nested = {"a": [nested]}
    return nested


class Shown:
    """A thing of somebody else's, that shows what is in it."""

    def __init__(self, body: bytes) -> None:
        self._fields = fields_of(body)

    def __repr__(self) -> str:
        return f"Shown({self._fields!r})"


SHAPES: dict[str, Shape] = {
    "the body": lambda body: body,
    "the body as a text": lambda body: body.decode(),
    "the body as Python shows it": lambda body: repr(body),
    "the fields": fields_of,
    "the fields as Python shows them": lambda body: repr(fields_of(body)),
    "the pairs": pairs_of,
    "the pairs as Python shows them": lambda body: repr(pairs_of(body)),
    "the tree": lambda body: tree_of(fields_of(body)),
    "the tree as Python shows it": lambda body: str(tree_of(fields_of(body))),
    "the tree as JSON": lambda body: json.dumps(tree_of(fields_of(body)), indent=1),
    "JSON in JSON": lambda body: json.dumps({"sent": json.dumps(tree_of(fields_of(body)))}),
    "fields in a list in a table": lambda body: {"calls": [{"first": fields_of(body)}]},
    "fields in more levels than are looked at": deep,
    "a thing that shows them": Shown,
    "an error": error_of,
    "lines of name: value": lambda body: "\n".join(f"{path}: {value}" for path, value in fields_of(body).items()),
}


def written(**words: Any) -> str:
    """The line that the log gets."""
    chain: list[Any] = [structlog.processors.format_exc_info, hide_secrets, structlog.processors.JSONRenderer()]
    made: Any = {"event": "something happened", **words}
    for processor in chain:
        made = processor(None, "warning", made)
    return str(made)


def test_the_bodies_have_secrets() -> None:
    assert len({secret for file in BODIES for secret in secrets_of(file.read_bytes().strip())}) > 20


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("file", BODIES, ids=lambda file: file.stem[:20])
def test_no_secret_of_a_body_is_in_a_line(file: Path, shape: str) -> None:
    body = file.read_bytes().strip()
    logged = SHAPES[shape](body)

    lines = [written(what=logged), written(event=f"got {logged}")]
    if isinstance(logged, ValueError):
        lines.append(written(exc_info=logged))

    assert [secret for secret in secrets_of(body) if any(secret in line for line in lines)] == []
    assert all("***" in line for line in lines) or not secrets_of(body)


@pytest.mark.parametrize("name", sorted(SECRET_NAMES))
@pytest.mark.parametrize(
    "text",
    [
        "{}=7H3V4LUE",
        "x[{}]=7H3V4LUE&y=1",
        "x%5B{}%5D=7H3V4LUE",
        "'{}': '7H3 V4LUE'",
        '"{}":"7H3V4LUE"',
        "('a[{}]', '7H3V4LUE')",
    ],
)
def test_every_name_that_is_sealed_is_known_in_texts(name: str, text: str) -> None:
    for one in (name, name.upper(), name.replace("_", "."), name.replace("_", " ")):
        told = without_secrets(text.format(one))
        assert "7H3" not in told and "V4LUE" not in told


def test_what_is_no_secret_stays() -> None:
    words = {
        "portal": "a.bitrix24.ru",
        "offset": 7,
        "ratio": 0.5,
        "done": True,
        "next": None,
        "names": ["ONCRMDEALADD"],
        "auth": {"domain": "a.bitrix24.ru", "client_endpoint": "https://a.bitrix24.ru/rest/"},
        "error": "deal 7 of author 5: field UF_AUTHOR is missing (token of the kind 'x')",
    }

    assert json.loads(written(**words)) == {"event": "something happened", **words}


def test_a_word_of_the_line_that_names_a_secret_is_hidden() -> None:
    line = json.loads(written(access_token="7H3V4LUE", password=b"7H3V4LUE", client_secret={"a": "7H3V4LUE"}))

    assert line == {
        "event": "something happened",
        "access_token": "***",
        "password": "***",
        "client_secret": "***",
    }


def test_a_thing_that_can_not_be_shown_ends_no_line() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise KeyError("no")

    assert json.loads(written(what=Broken()))["what"] == "<Broken: it can't be shown>"


def test_a_line_has_an_end() -> None:
    assert len(written(body="x" * 10_000_000)) < 20_000
    assert len(written(body=list(range(10_000_000)))) < 20_000
    assert len(written(body=dict.fromkeys(range(1_000_000)))) < 20_000


def test_a_long_text_keeps_its_end_where_the_error_stands() -> None:
    line = written(exception="x" * 30_000 + " token=7H3V4LUE ValueError: no such deal")

    assert "no such deal" in line
    assert "7H3" not in line


@pytest.mark.parametrize("step", ["token[", "[token]", "token%5B", "token]", 'token"', "token= ", "a[token]="])
def test_a_hostile_text_takes_no_longer_than_another_of_its_length(step: str) -> None:
    # What looks on from each of its names to the end takes hours for it.
    text = step * (1_000_000 // len(step))

    assert without_secrets(text)


@pytest.mark.parametrize(
    "text", ["api-key=7H3V4LUE99", "x-apikey: 7H3V4LUE99", "Authorization=Basic%207H3V4LUE99", "a ApiKey 7H3V4LUE99"]
)
def test_logins_of_headers_are_known(text: str) -> None:
    assert "7H3" not in without_secrets(text)
