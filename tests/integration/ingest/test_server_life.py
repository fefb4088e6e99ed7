"""The real server, from its first readiness to its last answer."""

import asyncio
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from forebay.schemas.codec import codec

from .conftest import PARSERS, SERVE, TOKEN, Served, Start, event, free_port, read_answer, request

#: Longer than any of these waits takes, even on a machine that is busy with other tests.
DEADLINE_S = 20.0


async def test_events_over_kept_connections_and_two_workers_keep_the_order_of_their_portal(start: Start) -> None:
    served = start(ingest_processes=2, auth="tokens", tokens={"*": TOKEN})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda portal: _send_in_order(served, f"p{portal}.bitrix24.ru"), range(8)))

    numbers: dict[str, list[str]] = {}
    for record in await served.stored():
        numbers.setdefault(record.key, []).append(codec().decode(record.value).fields["data[FIELDS][ID]"])
    assert numbers == {f"p{portal}.bitrix24.ru": [str(number) for number in range(25)] for portal in range(8)}


def _send_in_order(served: Served, portal: str) -> None:
    kept = served.connection()
    for number in range(25):
        # Every other one over a connection of its own, which another worker may accept.
        connection = kept if number % 2 else served.connection()
        connection.sendall(request(event(number, portal)))
        assert read_answer(connection).startswith(b"HTTP/1.1 200")
        if connection is not kept:
            connection.close()
    kept.close()


@pytest.mark.parametrize("parser", PARSERS)
def test_a_large_event_right_behind_an_answer_is_answered_too(start: Start, parser: str) -> None:
    served = start(auth="none", without=PARSERS[parser])
    body = event(1) + b"&data[TEXT]=" + b"x" * 300_000

    with served.connection() as kept:
        for _ in range(100):
            kept.sendall(request(body))
            assert read_answer(kept).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_counts_of_all_workers_are_added_up_and_survive_a_worker(start: Start, how: signal.Signals) -> None:
    served = start(ingest_processes=2, auth="none")
    for number in range(20):
        served.call("/bitrix24", event(number))

    folder, victim = _metrics_folder(served), served.workers()[0]
    os.kill(victim, how)
    _wait_until_gone(served, victim)
    status, answer = served.call("/bitrix24", event(20))
    assert status == 200, answer

    text = served.call("/metrics")[1].decode()
    assert 'forebay_ingest_requests_total{endpoint="/bitrix24",outcome="accepted"} 21.0' in text
    assert "bitrix24.ru" not in text
    _wait_until(lambda: not list(folder.glob(f"*_{victim}.db")), f"what worker {victim} counted stays in its own files")
    assert 'outcome="accepted"} 21.0' in served.call("/metrics")[1].decode()


def test_metrics_at_an_address_of_their_own_take_no_events(start: Start) -> None:
    port = free_port()
    served = start(auth="none", metrics_bind=f"127.0.0.1:{port}")
    metrics = Served(port=port, process=served.process, settings=served.settings, log=served.log)

    statuses = {
        "here": metrics.call("/metrics")[0],
        "there": served.call("/metrics")[0],
        "event here": metrics.call("/bitrix24", event(1))[0],
        "event there": served.call("/bitrix24", event(1))[0],
        "ready here": metrics.call("/ready")[0],
    }

    assert statuses == {"here": 200, "there": 404, "event here": 404, "event there": 200, "ready here": 200}


async def test_what_waits_in_the_spool_goes_first_also_under_settings_that_need_no_spool(start: Start) -> None:
    before = start(auth="none", portal_rate=0.1)
    for number in range(3):
        before.call("/bitrix24", event(number))
    before.stop()
    assert len(await before.stored()) < 3

    after = start(auth="none", data_dir=before.settings["data_dir"])
    after.call("/bitrix24", event(3))
    while len(await after.stored()) < 4:
        await asyncio.sleep(0.02)

    fields = [codec().decode(record.value).fields for record in await after.stored()]
    assert [one["data[FIELDS][ID]"] for one in fields] == ["0", "1", "2", "3"]


def _at_the_terminal(served: Served) -> None:
    """Ctrl-C, which every process there hears."""
    for pid in (*served.workers(), served.process.pid):
        os.kill(pid, signal.SIGINT)


def _at_the_terminal_of_a_busy_machine(served: Served) -> None:
    """The same, where a worker hears of it from the master first."""
    [worker] = served.workers()
    served.process.send_signal(signal.SIGINT)
    while _is_ready(served):
        time.sleep(0.01)
    # It may have answered all by now, and be gone.
    with suppress(ProcessLookupError):
        os.kill(worker, signal.SIGINT)


def _is_ready(served: Served) -> bool:
    try:
        return served.call("/ready")[0] == 200
    except OSError:
        # It says so for less than a second; then it takes no connection any more.
        return False


stops = pytest.mark.parametrize(
    "stop",
    [
        lambda served: served.process.send_signal(signal.SIGTERM),
        lambda served: served.process.send_signal(signal.SIGQUIT),
        _at_the_terminal,
        _at_the_terminal_of_a_busy_machine,
    ],
    ids=["SIGTERM", "SIGQUIT", "Ctrl-C", "Ctrl-C on a busy machine"],
)


@stops
async def test_a_call_that_runs_when_the_stop_comes_is_kept_and_answered(
    start: Start, stop: Callable[[Served], None]
) -> None:
    served = start(auth="none")
    body, later = event(7), request(event(8))
    with served.connection() as running, served.connection() as idle, served.connection() as coming:
        coming.sendall(request(event(5)))
        read_answer(coming)
        coming.sendall(later[:30])
        running.sendall(request(body)[:-5])
        idle.sendall(request(event(6)))
        read_answer(idle)

        stop(served)
        of_idle = idle.recv(1)
        running.sendall(body[-5:])
        answers = [read_answer(running)]
        coming.sendall(later[30:])
        answers.append(read_answer(coming))
    status = served.process.wait(DEADLINE_S)

    assert of_idle == b""
    assert all(one.startswith(b"HTTP/1.1 200") and b"onnection: close" in one for one in answers)
    assert status == 0
    ids = [codec().decode(record.value).fields["data[FIELDS][ID]"] for record in await served.stored()]
    assert ids == ["5", "6", "7", "8"]


@stops
async def test_a_stop_loses_no_call_of_a_connection_that_is_kept(start: Start, stop: Callable[[Served], None]) -> None:
    # A connection that says nothing for so long is closed; these are only late.
    script = f"import forebay.ingest.worker\nforebay.ingest.worker._LINGER_S = {DEADLINE_S}\n{SERVE}"
    served = start(auth="none", script=script, drain_s=3 * DEADLINE_S)
    connections = [await asyncio.open_connection(served.host, served.port) for _ in range(64)]
    answered = asyncio.Event()

    async def last_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        answer = b""
        while b"onnection: close" not in answer:
            writer.write(request(event(1)))
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(answer.lower().partition(b"content-length:")[2].split()[0]))
            answered.set()
        writer.close()
        return answer

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as calling:
        last = [calling.create_task(last_answer(*connection)) for connection in connections]
        await answered.wait()
        stop(served)

    assert {task.result().split()[1] for task in last} == {b"200"}
    assert served.process.wait(DEADLINE_S) == 0


def test_a_stop_leaves_neither_process_nor_folder(start: Start) -> None:
    served = start(auth="none")
    folder = _metrics_folder(served)

    status = served.stop()

    assert status == 0
    assert not folder.exists()


def test_a_stop_ends_in_its_grace_also_while_the_queue_takes_nothing(start: Start) -> None:
    served = start(auth="none", drain_s=2)
    writer = sqlite3.connect(Path(served.settings["data_dir"]) / "queue.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")

    with served.connection() as waiting:
        waiting.sendall(request(event(1)))
        status = served.stop()
        answer = read_answer(waiting)
    writer.close()

    assert status == 0
    assert b" 200 " not in answer


def test_a_client_that_leaves_in_the_middle_of_its_body_queues_nothing(start: Start) -> None:
    served = start(auth="none")
    connection = served.connection()
    connection.sendall(request(event(1))[:-5])

    connection.close()
    _wait_for_line(served.log, "caller_left")

    assert 'outcome="accepted"} 0.0' in served.call("/metrics")[1].decode()
    served.stop()
    assert "internal" not in served.log.read_text()


async def test_a_client_that_does_not_wait_for_its_answer_is_kept_all_the_same(start: Start) -> None:
    served = start(auth="none")

    with served.connection() as connection:
        connection.sendall(request(event(1)))
        connection.shutdown(socket.SHUT_RDWR)
    _wait_for_count(served, 'outcome="accepted"} 1.0')
    served.stop()

    assert len(await served.stored()) == 1
    assert "a request was refused" not in served.log.read_text()


def test_the_address_of_the_sender_and_its_token_are_in_no_log(start: Start) -> None:
    served = start(auth="tokens", tokens={"*": TOKEN})
    wrong = event(1).replace(TOKEN.encode(), b"stolen-token-of-somebody")

    status, _ = served.call("/bitrix24?secret=in-the-address", wrong)
    served.call("/bitrix24", event(1))
    served.stop()

    log = served.log.read_text()
    assert status == 403
    assert "not_our_portal" in log
    assert not any(secret in log for secret in (TOKEN, "stolen-token", "in-the-address"))


def _metrics_folder(served: Served) -> Path:
    maps = Path(f"/proc/{served.workers()[0]}/maps").read_text()
    return next(Path(line.split()[-1]).parent for line in maps.splitlines() if "forebay-metrics-" in line)


def _wait_until(holds: Callable[[], object], otherwise: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def _wait_until_gone(served: Served, worker: int) -> None:
    _wait_until(lambda: worker not in served.workers(), f"worker {worker} never went")


def _wait_for_line(log: Path, line: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while line not in log.read_text():
        assert time.monotonic() < deadline, f"{line!r} never came: {log.read_text()}"
        time.sleep(0.02)


def _wait_for_count(served: Served, line: str) -> None:
    _wait_until(lambda: line in served.call("/metrics")[1].decode(), f"{line!r} never came")
