import asyncio
import os
from asyncio.subprocess import Process
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import cast

import pytest

from forebay.console.errors import WrongUsage
from forebay.console.health_server import served, supervised_routes, worker_routes
from forebay.console.shared_folder import forget, state_of, tell, tell_regularly
from forebay.processors.health import Health


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
    tell(folder, Health().report())
    joining = routes["/live"]()
    tell(folder, Health().report(), clock=lambda: monotonic() - 11)
    silent = routes["/live"]()
    forget(folder, this.pid)
    ended = routes["/live"]()

    assert [page.status for page in (starting, joining, silent, ended)] == [200, 200, 503, 200]
    assert b"has said nothing for 10 s" in silent.body


async def test_a_worker_that_could_not_say_how_it_is_says_so_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.console.shared_folder._TELL_EVERY_S", 0.001)
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
