"""Started by the ingest's benchmark: a load of POSTs that takes a third of what wrk takes from the server beside it.

Arguments: a port, the number of connections, that of requests, that of portals, the file of a form, whose portal is
called `some-domain`, and perhaps a rate. Each connection sends its next request when the last one was answered; with a
rate, so many are due a second, whether the ones before were answered or not, and the number of each one's deal is the
moment at which it was due, in nanoseconds of the monotonic clock. Prints one JSON object.
"""

import itertools
import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

_NAME, _DEAL = b"some-domain", b"=7405&"
_READ_BYTES = 65_536
_TIMEOUT_S = 60
_MS, _NS = 1000, 1_000_000_000

_REQUEST = (
    b"POST /bitrix24 HTTP/1.1\r\nHost: x\r\nUser-Agent: Bitrix24 Webhook Engine\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%b"
)


def main(port: str, connections: str, requests: str, portals: str, form: str, rate: str = "") -> None:
    """Send them and say how it went."""
    text = Path(form).read_bytes()
    bodies = [text.replace(_NAME, b"portal-%d" % number) for number in range(int(portals))]
    sockets = [socket.create_connection(("127.0.0.1", int(port))) for _ in range(int(connections))]
    started = time.perf_counter()
    if rate:
        took = _send_when_due(sockets, itertools.cycle(bodies), int(requests), int(rate))
    else:
        took = _send(sockets, itertools.cycle([_REQUEST % (len(body), body) for body in bodies]), int(requests))
    seconds = time.perf_counter() - started
    took.sort()
    p50, p99 = took[len(took) // 2] * _MS, took[len(took) * 99 // 100] * _MS
    print(json.dumps({"answered": len(took), "rate": len(took) / seconds, "p50_ms": p50, "p99_ms": p99}))


def _send(sockets: list[socket.socket], bodies: Iterator[bytes], requests: int) -> list[float]:
    """The seconds until each answer."""
    poller, by_number = select.epoll(), {one.fileno(): one for one in sockets}
    sent_at: dict[int, float] = {}
    for number, one in by_number.items():
        poller.register(number, select.EPOLLIN)
        sent_at[number] = time.perf_counter()
        one.sendall(next(bodies))
    took: list[float] = []
    left = requests - len(sockets)
    while len(took) < requests:
        for number, _ in poller.poll(_TIMEOUT_S):
            _check(by_number[number].recv(_READ_BYTES))
            now = time.perf_counter()
            took.append(now - sent_at[number])
            if left > 0:
                left -= 1
                sent_at[number] = now
                by_number[number].sendall(next(bodies))
    return took


def _send_when_due(sockets: list[socket.socket], bodies: Iterator[bytes], requests: int, rate: int) -> list[float]:
    """The seconds from where each was due to its answer."""
    poller, by_number = select.epoll(), {one.fileno(): one for one in sockets}
    for number in by_number:
        poller.register(number, select.EPOLLIN)
    first_ns = time.monotonic_ns()
    dues = deque(first_ns + number * _NS // rate for number in range(requests))
    free, due_of, took = deque(by_number), dict[int, int](), list[float]()
    while len(took) < requests:
        while free and dues and dues[0] <= time.monotonic_ns():
            number = free.popleft()
            due_of[number] = due_ns = dues.popleft()
            body = next(bodies).replace(_DEAL, b"=%d&" % due_ns, 1)
            by_number[number].sendall(_REQUEST % (len(body), body))
        # An epoll alone would wait for whole milliseconds.
        early_s = max(0.0, (dues[0] - time.monotonic_ns()) / _NS) if free and dues else _TIMEOUT_S
        select.select([poller], [], [], early_s)
        for number, _ in poller.poll(0):
            _check(by_number[number].recv(_READ_BYTES))
            took.append((time.monotonic_ns() - due_of.pop(number)) / _NS)
            free.append(number)
    return took


def _check(answer: bytes) -> None:
    # In one piece: it is 300 bytes, written at once.
    if not (answer.startswith(b"HTTP/1.1 200") and answer.endswith(b'"}')):
        sys.exit(f"this is no answer to an event that was kept: {answer!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
