"""How long the real server bears with who says nothing, or says it slowly."""

import os
import resource
from contextlib import ExitStack

from .conftest import Start, event, read_answer, request


def test_a_connection_that_never_sends_a_request_is_closed(start: Start) -> None:
    served = start(auth="none", body_timeout_s=0.2)

    with served.connection() as silent, served.connection() as slow:
        slow.sendall(b"POST /bitrix24 HTTP/1.1\r\nHost:")
        ends = silent.recv(1), slow.recv(1)

    assert ends == (b"", b"")


def test_a_connection_that_has_sent_a_request_may_be_silent_for_longer(start: Start) -> None:
    served = start(auth="none", body_timeout_s=0.2)

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
    served = start(auth="none", keep_alive_s=1, body_timeout_s=3)
    later = request(event(2))

    with served.connection() as coming, served.connection() as silent, served.connection() as stuck:
        for connection in (coming, stuck, silent):
            connection.sendall(request(event(1)))
            read_answer(connection)
        # An empty line is no beginning of one.
        silent.sendall(b"\r\n")
        coming.sendall(later[:30])
        stuck.sendall(later[:30])
        of_silent = silent.recv(1)
        coming.sendall(later[30:])
        answer = read_answer(coming)
        of_stuck = stuck.recv(1)

    assert (of_silent, of_stuck) == (b"", b"")
    assert answer.startswith(b"HTTP/1.1 200")


def test_where_most_files_are_taken_silent_connections_soon_make_room(start: Start) -> None:
    served = start(auth="none", body_timeout_s=60)
    [worker] = served.workers()
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{worker}/fd")) + 100,) * 2)

    with ExitStack() as strangers:
        early = [strangers.enter_context(served.connection()) for _ in range(10)]
        later = [strangers.enter_context(served.connection()) for _ in range(80)]
        ends = [one.recv(1) for one in later[-10:]]
        status, _ = served.call("/bitrix24", event(1))
        for one in early:
            one.sendall(request(event(2)))
        answers = [read_answer(one)[:12] for one in early]

    assert ends == [b""] * 10
    assert status == 200
    assert answers == [b"HTTP/1.1 200"] * 10


def test_a_body_that_is_too_slow_is_answered_with_408(start: Start) -> None:
    served = start(auth="none", body_timeout_s=0.2)

    answer = served.raw(request(event(1))[:-5])

    assert answer.startswith(b"HTTP/1.1 408") and b"body_too_slow" in answer
