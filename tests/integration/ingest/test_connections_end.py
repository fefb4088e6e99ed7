"""What is left of connections that have ended: nothing, whoever ended them and when."""

import json
import time
from collections.abc import Callable

import pytest

from .conftest import PARSERS, Served, Start, read_answer

#: The ingest, with an address that says how many connections the worker has, and what waits for a garbage collection.
_SERVE = """
import gc, json, sys
for name in sys.argv[2:]:
    sys.modules[name] = None
from forebay.ingest.server import Server, serve
from forebay.ingest.settings import IngestSettings

load = Server.load

def loaded(self):
    application = load(self)
    gc.disable()

    async def answer(scope, receive, send):
        if scope["type"] != "http" or scope["path"] != "/left":
            return await application(scope, receive, send)
        garbage = gc.collect()
        there = sum(type(one).__name__ == "PortalProtocol" for one in gc.get_objects())
        body = json.dumps({"garbage": garbage, "there": there}).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    answer.taken = application.taken
    return answer

Server.load = loaded
serve(IngestSettings(**json.loads(sys.argv[1])))
"""

_BODY = b"event=ONCRMDEALADD&data[FIELDS][ID]=1&auth[domain]=a.bitrix24.ru"
_HEAD = b"POST /bitrix24 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(_BODY)

MANY = 50

#: Longer than the server needs to see that they are gone.
_PATIENCE_S = 10.0


def closed_by_the_caller(served: Served) -> None:
    with served.connection() as connection:
        connection.sendall(_HEAD + b"\r\n" + _BODY)
        read_answer(connection)


def closed_by_the_server(served: Served) -> None:
    served.raw(_HEAD + b"Connection: close\r\n\r\n" + _BODY)


def left_before_the_answer(served: Served) -> None:
    with served.connection() as connection:
        connection.sendall(_HEAD + b"\r\n" + _BODY)


def left_in_the_body(served: Served) -> None:
    with served.connection() as connection:
        connection.sendall(_HEAD + b"\r\n" + _BODY[:9])


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("end", [closed_by_the_caller, closed_by_the_server, left_before_the_answer, left_in_the_body])
def test_nothing_is_left_of_a_connection_that_has_ended(
    start: Start, parser: str, end: Callable[[Served], None]
) -> None:
    served = start(auth="none", ingest_processes=1, without=PARSERS[parser], script=_SERVE)
    end(served)
    left(served)

    for _ in range(MANY):
        end(served)

    until = time.monotonic() + _PATIENCE_S
    found = left(served)
    while found["there"] > 1 and time.monotonic() < until:
        found = {"garbage": found["garbage"] + (more := left(served))["garbage"], "there": more["there"]}
    # The one is that which asks.
    assert found["there"] == 1
    assert found["garbage"] < MANY


def left(served: Served) -> dict[str, int]:
    """What the worker says."""
    found: dict[str, int] = json.loads(served.call("/left")[1])
    return found
