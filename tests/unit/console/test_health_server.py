import asyncio
import os
from asyncio.subprocess import Process
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import cast

import orjson
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from forebay.console.errors import WrongUsage
from forebay.console.processes.health_server import (
    held_up_routes,
    served,
    served_aside,
    supervised_routes,
    worker_routes,
)
from forebay.console.processes.shared_folder import forget, silence_s, state_of, tell, tell_regularly
from forebay.console.processes.standing_still import Aged
from forebay.processors.health import Health
from forebay.processors.metrics import metrics_of
from tests.answers import called


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_worker_tells_how_it_is(unused_tcp_port: int) -> None:
    health = Health()
    routes = worker_routes(health)

    async with served(f"127.0.0.1:{unused_tcp_port}", routes):
        before = await ask(unused_tcp_port, b"GET /ready HTTP/1.1\r\n\r\n")
        health.ok("group")
        after = await ask(unused_tcp_port, b"GET /ready?x HTTP/1.1\r\nHost: a\r\n\r\n")
        live = await ask(unused_tcp_port, b"HEAD /live HTTP/1.1\r\n\r\n")
        metrics = await ask(unused_tcp_port, b"GET /metrics HTTP/1.1\r\n\r\n")

    assert before.startswith(b"HTTP/1.1 503")
    assert after.startswith(b"HTTP/1.1 200")
    assert b'"status":"ok"' in after
    assert live.startswith(b"HTTP/1.1 200")
    assert live.endswith(b"\r\n\r\n")
    assert b"process_cpu_seconds_total" in metrics


@pytest.mark.parametrize(
    ("request_line", "status"),
    [(b"GET /other HTTP/1.1", b"404"), (b"POST /live HTTP/1.1", b"405"), (b"\xff\x00", b""), (b"GET", b"")],
)
async def test_what_is_no_question_gets_its_answer_or_none(
    unused_tcp_port: int, request_line: bytes, status: bytes
) -> None:
    async with served(f"127.0.0.1:{unused_tcp_port}", worker_routes(Health())):
        answer = await ask(unused_tcp_port, request_line + b"\r\n\r\n")

    assert answer[9:12] == status


async def test_an_address_that_is_taken_is_told_with_its_setting(unused_tcp_port: int) -> None:
    bind = f"127.0.0.1:{unused_tcp_port}"
    async with served(bind, {}):
        with pytest.raises(WrongUsage, match=f"metrics_bind {bind}"):
            async with served(bind, {}):
                pass


async def test_a_thread_tells_of_a_loop_that_stands_still(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.console.processes.standing_still.STALE_S", 0.3)
    monkeypatch.setattr("forebay.console.processes.standing_still.TELL_EVERY_S", 0.01)
    monkeypatch.setattr("forebay.console.processes.health_server._REQUEST_S", 0.2)
    bind, health = f"127.0.0.1:{unused_tcp_port}", Health()
    health.ok("group")

    def live() -> tuple[int, bytes]:
        return called(f"http://{bind}/live")

    def until(status: int) -> bytes:
        while True:
            # One that came before it was known is not answered.
            with suppress(OSError):
                if (found := live())[0] == status:
                    return found[1]

    with ThreadPoolExecutor(1) as others:
        async with served_aside(bind, worker_routes(health), held_up_routes):
            turns = await asyncio.wrap_future(others.submit(until, 200))
            # The loop waits here, and does nothing else.
            stands_still = others.submit(until, 503).result(30)
            turns_again = await asyncio.wrap_future(others.submit(until, 200))
        with pytest.raises(OSError):
            live()

    assert turns == turns_again == orjson.dumps(health.report())
    assert b"something holds up the event loop" in stands_still


async def test_a_thread_that_can_not_serve_tells_why(unused_tcp_port: int) -> None:
    bind = f"127.0.0.1:{unused_tcp_port}"
    async with served_aside(bind, {}, held_up_routes):
        with pytest.raises(WrongUsage, match=f"metrics_bind {bind}"):
            async with served_aside(bind, {}, held_up_routes):
                pass


def test_who_stands_still_has_asked_for_nothing_since_and_all_else_is_as_it_was() -> None:
    registry = CollectorRegistry()
    for group, metrics in metrics_of(("crm", "audit"), registry).items():
        metrics.poll_age.set(0.9 if group == "crm" else 90.0)
        metrics.held_records.set(7)

    shown = generate_latest(Aged(registry, 12.5)).decode()

    assert 'forebay_poll_age_seconds{group="crm"} 12.5\n' in shown
    assert 'forebay_poll_age_seconds{group="audit"} 90.0\n' in shown
    assert 'forebay_held_records{group="crm"} 7.0\n' in shown


async def test_supervised_workers_are_ready_while_one_of_them_does_its_work(tmp_path: Path) -> None:
    folder, health = str(tmp_path), Health()
    this = SimpleNamespace(pid=os.getpid())
    routes = supervised_routes(folder, ["worker 1", "worker 2"], {"worker 1": cast(Process, this)})

    silent = routes["/ready"]()
    tell(folder, health.report())
    joining = routes["/ready"]()
    health.ok("group")
    tell(folder, health.report())
    one_works = routes["/ready"]()
    forget(folder, this.pid)
    forgotten = routes["/ready"]()

    assert [page.status for page in (silent, joining, one_works, forgotten)] == [503, 503, 200, 503]
    assert b"has said nothing yet" in silent.body
    assert b"not joined yet" in joining.body
    assert b'"status":"degraded"' in one_works.body
    assert b"does not run" in one_works.body
    assert routes["/live"]().status == 200


def test_supervised_workers_live_until_one_of_them_stands_still(tmp_path: Path) -> None:
    folder, this = str(tmp_path), cast(Process, SimpleNamespace(pid=os.getpid()))
    routes = supervised_routes(folder, ["worker 1", "worker 2"], {"worker 1": this})

    starting = routes["/live"]()
    tell(folder, Health().report(), ["crm"])
    joining = routes["/live"]()
    tell(folder, Health().report(), ["crm"], clock=lambda: monotonic() - 11)
    silent = routes["/live"]()
    forget(folder, this.pid)
    ended = routes["/live"]()

    assert [page.status for page in (starting, joining, silent, ended)] == [200, 200, 503, 200]
    assert b"has said nothing for 10 s" in silent.body


def test_who_said_once_that_it_listens_does_not_stand_still_for_that(tmp_path: Path) -> None:
    tell(str(tmp_path), {"status": "ok", "parts": {}}, clock=lambda: monotonic() - 11)

    assert silence_s(str(tmp_path)) == 0


async def test_a_worker_that_could_not_say_how_it_is_says_so_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.console.processes.shared_folder.TELL_EVERY_S", 0.001)
    folder, health = tmp_path / "not there yet", Health()
    telling = asyncio.create_task(tell_regularly(str(folder), health, []))
    await asyncio.sleep(0.01)

    folder.mkdir()
    while not telling.done() and state_of(str(folder), os.getpid())[1] != "group: not joined yet":
        await asyncio.sleep(0.001)

    assert telling.cancel()


def test_a_worker_that_says_nothing_any_more_is_failing(tmp_path: Path) -> None:
    tell(str(tmp_path), {"status": "ok", "parts": {}}, clock=lambda: 100.0)

    soon = state_of(str(tmp_path), os.getpid(), clock=lambda: 101.0)
    late = state_of(str(tmp_path), os.getpid(), clock=lambda: 111.0)

    assert soon == ("ok", "")
    assert late == ("failing", "has said nothing for 10 s")
