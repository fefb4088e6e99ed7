"""Started by the ingest's benchmark: a load of POSTs that takes a third of what wrk takes from the server beside it.

Arguments: a port, the number of connections, that of requests, that of portals, and the file of a form, whose portal is
called `some-domain`. Each connection sends its next request when the last one was answered. Prints one JSON object.
"""

import itertools
import json
import select
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_NAME = b"some-domain"
_READ_BYTES = 65_536
_TIMEOUT_S = 60
_MS = 1000


def main(port: str, connections: str, requests: str, portals: str, form: str) -> None:
    """Send them and say how it went."""
    bodies = itertools.cycle(_requests(Path(form).read_bytes(), int(portals)))
    sockets = [socket.create_connection(("127.0.0.1", int(port))) for _ in range(int(connections))]
    started = time.perf_counter()
    took = sorted(_send(sockets, bodies, int(requests)))
    seconds = time.perf_counter() - started
    p50, p99 = took[len(took) // 2] * _MS, took[len(took) * 99 // 100] * _MS
    print(json.dumps({"answered": len(took), "rate": len(took) / seconds, "p50_ms": p50, "p99_ms": p99}))


def _requests(form: bytes, portals: int) -> list[bytes]:
    bodies = [form.replace(_NAME, b"portal-%d" % number) for number in range(portals)]
    head = b"POST /bitrix24 HTTP/1.1\r\nHost: x\r\nUser-Agent: Bitrix24 Webhook Engine\r\n"
    head += b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%b"
    return [head % (len(body), body) for body in bodies]


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


def _check(answer: bytes) -> None:
    # In one piece: it is 300 bytes, written at once.
    if not (answer.startswith(b"HTTP/1.1 200") and answer.endswith(b'"}')):
        sys.exit(f"this is no answer to an event that was kept: {answer!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
