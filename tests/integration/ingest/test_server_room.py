"""What strangers may have of the real server's memory by requests that never end."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from .conftest import Start, event, read_answer, request

STRANGERS = 500
#: Of what the server keeps of them, 64 MiB, and of what it needs for so many connections, and between two of its turns.
MOST_MB = 250


def never_ending(kind: str) -> bytes:
    """The most of a request that may be sent while it is not whole."""
    if kind == "body":
        return request(event(1) + b"&more=" + b"x" * 1_000_000)[:-9]
    return b"POST /bitrix24 HTTP/1.1\r\n" + b"".join(b"X-%d: %b\r\n" % (n, b"x" * 8100) for n in range(60))


def peak_mb(pid: int) -> int:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) >> 10


@pytest.fixture(params=["body", "headers"])
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def test_who_never_ends_his_request_makes_room_for_others(start: Start, kind: str) -> None:
    served = start(auth="none", body_timeout_s=60)
    [worker], begun = served.workers(), never_ending(kind)
    before = peak_mb(worker)

    with ExitStack() as stack:
        strangers = [stack.enter_context(served.connection()) for _ in range(STRANGERS)]
        for stranger in strangers:
            # Given up already, as those behind it sent more: it may not hear why.
            with suppress(ConnectionResetError, BrokenPipeError):
                stranger.sendall(begun)
        status, _ = served.call("/bitrix24", event(2) + b"&more=" + b"x" * 1_000_000)
        peak = peak_mb(worker)
        first = read_answer(strangers[0])
        strangers[-1].sendall(b"x" * 9 if kind == "body" else b"Content-Length: 0\r\n\r\n")
        last = read_answer(strangers[-1])

    assert status == 200
    assert peak - before < MOST_MB
    assert first.startswith(b"HTTP/1.1 408") and b'"%b_too_slow"' % kind.encode() in first
    assert last.startswith(b"HTTP/1.1 200" if kind == "body" else b"HTTP/1.1 422")
