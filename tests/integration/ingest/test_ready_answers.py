"""The answer of nearly every call is written past Falcon and gunicorn; its sender sees no difference."""

import json
import re
import socket
import time
from contextlib import suppress
from http.client import HTTPConnection

import pytest

from .conftest import PARSERS, Served, Start, read_answer

#: The ingest, whose connections keep little for who does not read; with an address that says how many calls it answers.
_SERVE = """
import json, socket, sys
for name in sys.argv[2:]:
    sys.modules[name] = None
from forebay.ingest.server import Server, serve
from forebay.ingest.settings import IngestSettings
from forebay.ingest.protocol import PortalProtocol
from forebay.ingest.worker import PortalWorker

load, made, begin = Server.load, PortalProtocol.connection_made, PortalWorker.init_process
workers = []

def connection_made(self, transport):
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    transport.set_write_buffer_limits(high=1024)
    made(self, transport)

def init_process(self):
    workers.append(self)
    begin(self)

def loaded(self):
    application = load(self)

    async def answer(scope, receive, send):
        if scope["type"] != "http" or scope["path"] != "/unfinished":
            return await application(scope, receive, send)
        body = b"%d" % len(workers[0].unfinished)
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    answer.taken = application.taken
    return answer

Server.load, PortalProtocol.connection_made, PortalWorker.init_process = loaded, connection_made, init_process
serve(IngestSettings(**json.loads(sys.argv[1])))
"""

_BODY = b"event=ONCRMDEALADD&data[FIELDS][ID]=1&auth[domain]=a.bitrix24.ru"

#: Whatever differs from one answer to the next.
_ITS_OWN = re.compile(rb"[0-9a-f-]{36}|(?<=Date: )[^\r]*")

#: Their answers are far more than the connection keeps.
_UNREAD = 2000
_BLOCKED_S, _PATIENCE_S = 1.0, 10.0


@pytest.fixture(scope="module", params=PARSERS)
def served(start: Start, request: pytest.FixtureRequest) -> Served:
    return start(auth="none", ingest_processes=1, without=PARSERS[request.param], script=_SERVE)


def call(path: bytes, version: bytes, headers: bytes) -> bytes:
    head = b"POST %b HTTP/%b\r\nHost: x\r\nX-Request-Id: mine\r\nContent-Length: %d\r\n%b\r\n"
    return head % (path, version, len(_BODY), headers) + _BODY


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("headers", [b"", b"Connection: close\r\n", b"Connection: keep-alive\r\n"])
def test_it_is_byte_for_byte_that_of_a_call_with_something_in_its_address(
    served: Served, version: bytes, headers: bytes
) -> None:
    ready = served.raw(call(b"/bitrix24", version, headers))
    usual = served.raw(call(b"/bitrix24/more", version, headers))

    assert b"x-request-id: mine\r\nserver: forebay\r\n" in ready
    assert _ITS_OWN.sub(b"-", ready) == _ITS_OWN.sub(b"-", usual)


def test_a_call_behind_it_that_is_no_http_is_refused_all_the_same(served: Served) -> None:
    with served.connection() as connection:
        connection.sendall(call(b"/bitrix24", b"1.1", b""))
        kept = read_answer(connection)
        connection.sendall(b"no HTTP\r\n\r\n")
        refused = read_answer(connection)

    assert kept.startswith(b"HTTP/1.1 200")
    assert refused.startswith(b"HTTP/1.1 400")


def test_what_fails_is_answered_once_and_the_connection_goes_on(served: Served) -> None:
    connection = HTTPConnection(served.host, served.port, timeout=20)
    found = []
    for body in (b"", b"PLACEMENT=x", _BODY):
        connection.request("POST", "/bitrix24", body)
        answer = connection.getresponse()
        found.append((answer.status, sorted(json.loads(answer.read()))))
    connection.close()

    assert found == [
        (422, ["detail", "error", "request_id"]),
        (422, ["detail", "error", "request_id"]),
        (200, ["id", "status"]),
    ]


def test_of_one_who_reads_no_answers_no_more_calls_are_taken_and_nothing_waits_for_him_when_he_has_left(
    served: Served,
) -> None:
    many = call(b"/bitrix24", b"1.1", b"") * _UNREAD
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        connection.connect((served.host, served.port))
        connection.settimeout(_BLOCKED_S)
        with suppress(TimeoutError):
            connection.sendall(many)
        before, kept = -1, requests(served)
        while kept > before:
            time.sleep(_BLOCKED_S)
            before, kept = kept, requests(served)

        assert kept < _UNREAD

    until = time.monotonic() + _PATIENCE_S
    while (unfinished := served.call("/unfinished")[1]) != b"0" and time.monotonic() < until:
        time.sleep(0.05)
    assert unfinished == b"0"


def requests(served: Served) -> int:
    """How many events were kept so far."""
    text = served.call("/metrics")[1].decode()
    [count] = re.findall(r'forebay_ingest_requests_total\{endpoint="/bitrix24",outcome="accepted"\} (\S+)', text)
    return int(float(count))
