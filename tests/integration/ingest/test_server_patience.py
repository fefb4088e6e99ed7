"""How long the real server bears with who says nothing, or says it slowly."""

import os
import resource
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from .conftest import SERVE, Start, event, read_answer, request

#: A loop that stands still for more than these seconds is that of a worker that is stuck.
_STUCK_S = 4

#: How long the server is to bear with who says nothing. A busy machine lets us say something only after a second.
_SHORT_S = 2


def test_a_connection_that_never_sends_a_request_is_closed(start: Start) -> None:
    served = start(auth="none", body_timeout_s=_SHORT_S)

    with served.connection() as silent, served.connection() as slow:
        slow.sendall(b"POST /bitrix24 HTTP/1.1\r\nHost:")
        ends = silent.recv(1), slow.recv(1)

    assert ends == (b"", b"")


def test_a_connection_that_has_sent_a_request_may_be_silent_for_longer(start: Start) -> None:
    served = start(auth="none", body_timeout_s=_SHORT_S)

    with served.connection() as kept:
        kept.sendall(request(event(1)))
        first = read_answer(kept)
        # Opened later, and closed for its silence: so the deadline of the other is over too.
        with served.connection() as silent:
            silent.recv(1)
        kept.sendall(request(event(2)))
        second = read_answer(kept)

    assert first.startswith(b"HTTP/1.1 200") and second.startswith(b"HTTP/1.1 200")


def test_a_kept_connection_is_closed_for_silence_but_not_while_a_request_is_coming(start: Start) -> None:
    served = start(auth="none", keep_alive_s=_SHORT_S, body_timeout_s=3 * _SHORT_S)
    later = request(event(2))

    with served.connection() as coming, served.connection() as silent, served.connection() as stuck:
        # An empty line is no beginning of one.
        for connection, begins in ((coming, later[:30]), (stuck, later[:30]), (silent, b"\r\n")):
            connection.sendall(request(event(1)))
            read_answer(connection)
            connection.sendall(begins)
        of_silent = silent.recv(1)
        coming.sendall(later[30:])
        answer = read_answer(coming)
        of_stuck = stuck.recv(1)

    assert (of_silent, of_stuck) == (b"", b"")
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("calls", [0, 1])
def test_where_most_files_are_taken_silent_connections_soon_make_room(start: Start, calls: int) -> None:
    served = start(auth="none", body_timeout_s=60)
    [worker] = served.workers()
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{worker}/fd")) + 100,) * 2)

    with ExitStack() as strangers:
        early = [strangers.enter_context(served.connection()) for _ in range(10)]
        later = [strangers.enter_context(served.connection()) for _ in range(80)]
        for one in (early + later) * calls:
            one.sendall(request(event(1)))
            read_answer(one)
        ends = [one.recv(1) for one in later[-10:]]
        status, _ = served.call("/bitrix24", event(1))
        for one in early:
            one.sendall(request(event(2)))
        answers = [read_answer(one)[:12] for one in early]

    assert ends == [b""] * 10
    assert status == 200
    assert answers == [b"HTTP/1.1 200"] * 10


def test_a_body_that_is_too_slow_is_answered_with_408(start: Start) -> None:
    served = start(auth="none", body_timeout_s=_SHORT_S)

    answer = served.raw(request(event(1))[:-5])

    assert answer.startswith(b"HTTP/1.1 408") and b"body_too_slow" in answer


def test_calls_that_came_while_the_process_stood_still_are_kept(start: Start) -> None:
    served = start(auth="none", body_timeout_s=_SHORT_S, keep_alive_s=_SHORT_S)
    call, [worker] = request(event(1)), served.workers()
    with ExitStack() as stack:
        new, begun, half, kept, going_on = [stack.enter_context(served.connection()) for _ in range(5)]
        for connection in (kept, going_on):
            connection.sendall(call)
            read_answer(connection)
        sent = {new: 0, begun: 20, half: len(call) - 10, kept: 0, going_on: 20}
        for connection, count in sent.items():
            connection.sendall(call[:count])
        for _ in range(2):
            # Answered behind those, so that these are accepted, and read as far as they have come.
            served.call("/ready")

        os.kill(worker, signal.SIGSTOP)
        for connection, count in sent.items():
            connection.sendall(call[count:])
        time.sleep(2 * _SHORT_S)
        os.kill(worker, signal.SIGCONT)

        answers = [read_answer(connection).partition(b"\r\n")[0] for connection in sent]
    assert answers == [b"HTTP/1.1 200 OK"] * len(sent)


def test_workers_that_stood_still_together_with_the_master_serve_on(start: Start) -> None:
    script = f"import forebay.ingest.server\nforebay.ingest.server._STUCK_S = {_STUCK_S}\n{SERVE}"
    served = start(auth="none", script=script)
    [worker], master = served.workers(), served.process.pid
    with served.connection() as kept:
        kept.sendall(request(event(1)))
        read_answer(kept)

        for pid in (worker, master):
            os.kill(pid, signal.SIGSTOP)
        kept.sendall(request(event(2)))
        time.sleep(_STUCK_S + 1)
        os.kill(master, signal.SIGCONT)
        # It has the processor first, and looks after its workers meanwhile.
        _turn(master)
        os.kill(worker, signal.SIGCONT)

        answer = read_answer(kept)
    assert answer.startswith(b"HTTP/1.1 200")
    assert served.workers() == [worker]


def _turn(pid: int) -> None:
    """Return when the process has come back to waiting a few times."""

    def waits() -> int:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))

    until = waits() + 2
    while waits() < until:
        time.sleep(0.01)
