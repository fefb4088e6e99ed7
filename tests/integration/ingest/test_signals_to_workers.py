"""Workers that hear what was meant for their master, and workers that have none any more."""

import asyncio
import os
import signal

from .conftest import Start, event, read_answer, request

#: Longer than any of these waits takes, even on a machine that is busy with other tests.
_DEADLINE_S = 20.0


async def test_a_hang_up_that_every_process_hears_cuts_off_no_call(start: Start) -> None:
    served = start(auth="none")
    [worker] = served.workers()
    body = event(7)
    with served.connection() as running:
        running.sendall(request(body)[:-5])

        # As `systemctl kill -s HUP` and the end of a terminal do it.
        for pid in (worker, served.process.pid):
            os.kill(pid, signal.SIGHUP)
        running.sendall(body[-5:])
        answer = read_answer(running)

    assert answer.startswith(b"HTTP/1.1 200")
    assert served.workers() == [worker]
    assert served.stop() == 0
    assert len(await served.stored()) == 1


async def test_a_worker_whose_master_is_killed_ends_as_at_a_stop_and_cuts_off_no_kept_connection(
    start: Start,
) -> None:
    served = start(auth="none", drain_s=2 * _DEADLINE_S)
    [worker] = served.workers()
    busy, idle = [await asyncio.open_connection(served.host, served.port) for _ in range(2)]
    answers = [await _answer(*connection) for connection in (busy, idle)]

    served.process.kill()
    async with asyncio.timeout(_DEADLINE_S):
        while b"onnection: close" not in answers[-1]:
            answers.append(await _answer(*busy))
        of_idle = await idle[0].read()
        busy[1].close()
        idle[1].close()
        while _lives(worker):
            await asyncio.sleep(0.05)

    assert {answer.split()[1] for answer in answers} == {b"200"}
    assert of_idle == b""
    assert len(await served.stored()) == len(answers)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(request(event(1)))
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
    return head


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
