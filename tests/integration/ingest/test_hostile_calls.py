"""What nobody should send has its defined answer, never a 500, and the server goes on."""

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.missing import missing

from .conftest import C_PARSER, PARSERS, TOKEN, Served, Start
from .hostile import CASES, CHUNKED, GOOD, KEPT, chunks, unmeasured


@pytest.fixture(scope="module", params=PARSERS)
def served(start: Start, request: pytest.FixtureRequest) -> Served:
    if request.param == "c" and find_spec(C_PARSER) is None:
        missing("gunicorn_h1c is not installed: pip install -r constraints/fast.txt, with a C compiler")
    return start(
        without=PARSERS[request.param],
        auth="tokens",
        tokens={"*": TOKEN},
        # A busy machine may let us send only so long after we have connected.
        body_timeout_s=3.0,
        max_body_bytes=100_000,
        seal_keys={"k": "A" * 43 + "="},
    )


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_call_gets_its_answer(served: Served, name: str) -> None:
    case = CASES[name]

    answer = served.raw(case.sends)

    assert int(answer.split(b" ", 2)[1]) in (case.status, case.in_python), answer[:500]
    assert case.has in answer
    head, _, body = answer.partition(b"\r\n\r\n")
    if body and b"error" in body:
        assert head.lower().count(b"x-request-id: " + json.loads(body)["request_id"].encode()) == 1
    assert b"application/json" in head
    # No part of a body or a URL comes back.
    assert TOKEN.encode() not in answer and b"evil" not in answer


def test_afterwards_the_server_is_as_well_as_before(served: Served) -> None:
    workers = served.workers()

    status, answer = served.call("/bitrix24", GOOD)

    assert (status, KEPT in answer) == (200, True)
    assert len(workers) == 1
    log = served.log.read_text()
    assert "Traceback" not in log and "a call failed" not in log
    assert TOKEN not in log


@pytest.mark.parametrize("headers", [b"Content-Length: 1500000\r\n", CHUNKED])
def test_a_sender_that_first_sends_all_it_has_still_reads_why_it_was_refused(served: Served, headers: bytes) -> None:
    body = b"a" * 1_500_000

    answer = served.raw(unmeasured(headers), chunks(body) if headers == CHUNKED else body)

    assert answer.startswith(b"HTTP/1.1 413")


GIGABYTE = 1 << 30
PIECE = b"a" * (1 << 20)

#: What a worker may grow by: the largest body it takes, a few times over, and what the allocator keeps.
GROWTH_BYTES = 32 << 20


def _declared() -> Iterator[bytes]:
    yield unmeasured(b"Content-Length: %d\r\n" % GIGABYTE)
    yield from [PIECE] * (GIGABYTE // len(PIECE))


def _chunked() -> Iterator[bytes]:
    yield unmeasured(CHUNKED)
    yield from [b"%x\r\n%b\r\n" % (len(PIECE), PIECE)] * (GIGABYTE // len(PIECE))


def _gzip_bomb() -> Iterator[bytes]:
    yield unmeasured(CHUNKED + b"Content-Encoding: gzip\r\n")
    yield from [b"%x\r\n%b\r\n" % (len(PIECE), bytes(len(PIECE)))] * (GIGABYTE // len(PIECE))


def _chunk_extension() -> Iterator[bytes]:
    yield unmeasured(CHUNKED, b"5;")
    yield from [PIECE] * (GIGABYTE // len(PIECE))


def _trailers() -> Iterator[bytes]:
    yield unmeasured(CHUNKED, chunks(GOOD)[:-2])
    yield from [b"X: " + PIECE + b"\r\n"] * (GIGABYTE // len(PIECE))


def _headers() -> Iterator[bytes]:
    yield b"POST /bitrix24 HTTP/1.1\r\n"
    yield from [b"X: " + PIECE + b"\r\n"] * (GIGABYTE // len(PIECE))


@pytest.mark.parametrize(
    ("sends", "statuses"),
    [
        (_declared, (b"413",)),
        (_chunked, (b"413",)),
        (_gzip_bomb, (b"415",)),
        (_chunk_extension, (b"400", b"408")),
        (_trailers, (b"431",)),
        (_headers, (b"431",)),
    ],
)
def test_memory_stays_bounded_while_a_gigabyte_is_sent(
    served: Served, sends: Callable[[], Iterator[bytes]], statuses: tuple[bytes, ...]
) -> None:
    before = _resident_bytes(served)

    answer = served.raw(*sends())

    # A sender that is far ahead may find the connection reset before it reads the answer.
    assert answer == b"" or answer.split(b" ", 2)[1] in statuses
    assert _resident_bytes(served) - before < GROWTH_BYTES
    assert served.call("/bitrix24", GOOD)[0] == 200


def _resident_bytes(served: Served) -> int:
    """The most that the worker ever held."""
    status = Path(f"/proc/{served.workers()[0]}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
