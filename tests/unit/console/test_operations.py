import asyncio

import pytest

from forebay.console.errors import WrongUsage
from forebay.console.operations import served, supervised_routes, worker_routes
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


def test_supervised_workers_are_ready_while_one_of_them_runs(tmp_path: object) -> None:
    running: dict[str, object] = {"worker 1": 1}
    routes = supervised_routes(str(tmp_path), ["worker 1", "worker 2"], running)

    some = routes["/ready"]()
    running.clear()
    none = routes["/ready"]()

    assert (some.status, none.status) == (200, 503)
    assert b'"status":"degraded"' in some.body
    assert routes["/live"]().status == 200
