"""What stands before the application: the first line of a request, and the answers that are given without it."""

from importlib.util import find_spec
from urllib.parse import unquote

import pytest

from forebay.schemas.codec import codec
from tests.missing import missing

from .conftest import C_PARSER, PARSERS, Served, Start, read_answer

BODY = b"document_id[0]=crm&document_id[1]=C&document_id[2]=DEAL_7&auth[domain]=a.bitrix24.ru"


@pytest.fixture(scope="module", params=PARSERS)
def served(start: Start, request: pytest.FixtureRequest) -> Served:
    if request.param == "c" and find_spec(C_PARSER) is None:
        missing("gunicorn_h1c is not installed: pip install -r constraints/fast.txt, with a C compiler")
    return start(without=PARSERS[request.param], auth="none")


def call(stage: str, body: bytes = BODY) -> bytes:
    """What a portal sends for a rule whose author typed the stage as it is."""
    head = f"POST /bitrix24/цех?stage={stage} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_an_address_with_letters_as_they_were_typed_is_an_event(served: Served) -> None:
    in_body = "сделка".encode() + BODY
    pipelined = call("Новая") + call("В\u00a0работе", in_body) + call("Успех")

    with served.connection() as connection:
        connection.sendall(pipelined)
        answers = [read_answer(connection)]
        while b"".join(answers).count(b'"accepted"') < 3 and answers[-1]:
            answers.append(connection.recv(65536))
        # A letter may be cut in two, and the line may come byte by byte.
        for byte in call("Провал"):
            connection.sendall(bytes([byte]))
        last = read_answer(connection)

    events = [codec().decode(record.value) for record in await served.stored()]
    assert last.startswith(b"HTTP/1.1 200")
    assert [unquote(event.query) for event in events] == [
        "stage=Новая",
        "stage=В\u00a0работе",
        "stage=Успех",
        "stage=Провал",
    ]
    assert {event.path for event in events} == {"цех"}
    # Only the line is touched.
    assert "сделкаdocument_id[0]" in events[1].fields


async def test_a_whole_url_is_the_same_address_whatever_the_site_is_called(served: Served) -> None:
    for site in (b"http://x", b"HTTPS://user:word@forebay.example:8080", b"http://[2001:db8::1]:80", b"http://a%2Fb"):
        answer = served.raw(call("%2f", BODY).replace(b"/bitrix24/", site + b"/bitrix24/whole%20url/", 1))
        assert answer.startswith(b"HTTP/1.1 200"), (site, answer)

    events = [codec().decode(record.value) for record in await served.stored()]
    found = [event for event in events if event.path.startswith("whole")]
    assert [(event.path, event.query) for event in found] == [("whole url/цех", "stage=%2f")] * 4


def test_what_is_no_http_is_counted_by_its_status(served: Served) -> None:
    served.raw(b"no http\r\n\r\n")
    served.raw(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n")

    text = served.call("/metrics")[1].decode()

    assert 'forebay_ingest_not_http_total{status="400"} 1.0' in text
    assert 'forebay_ingest_not_http_total{status="414"} 1.0' in text
