"""/metrics, /live and /ready of the processors: for machines, so no more of HTTP than they need."""

import asyncio
import os
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

import orjson

from forebay.console.errors import WrongUsage

from .shared_folder import silence_s, state_of
from .standing_still import Aged, Pulse, exposition_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from forebay.processors.health import Told

#: Nobody who may ask here needs longer for a request, or more bytes.
_REQUEST_S = 5.0
_LINE_BYTES = 4096

_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An answer."""

    status: int = 200
    content_type: str = "application/json"
    body: bytes


Routes = Mapping[str, Callable[[], Page]]

_NOT_FOUND = Page(status=404, body=b'{"error":"not_found","detail":"there are /metrics, /live and /ready"}')
_NOT_TAKEN = Page(status=405, body=b'{"error":"method_not_allowed","detail":"only GET and HEAD"}')


@asynccontextmanager
async def served(bind: str, routes: Routes) -> AsyncIterator[None]:
    """Serve the routes meanwhile."""

    async def page(path: str) -> Page:
        return routes[path]()

    async with await _listening(bind, routes, page):
        yield


@asynccontextmanager
async def served_aside(bind: str, routes: Routes, held_up: Callable[[float], Routes]) -> AsyncIterator[None]:
    """Serve the routes meanwhile, by a thread beside this loop, on which they run.

    While the loop stands still the others are served, for which the thread alone is needed: they get for how long.
    """
    loop, pulse, up = asyncio.get_running_loop(), Pulse(), Future[Callable[[], object]]()

    async def page(path: str) -> Page:
        if pulse.silence_s:
            return held_up(pulse.silence_s)[path]()

        async def made() -> Page:
            return routes[path]()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(made(), loop))

    async def serve() -> None:
        here, ended = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await _listening(bind, routes, page)
        except BaseException as error:
            return up.set_exception(error)
        async with server:
            up.set_result(lambda: here.call_soon_threadsafe(ended.set))
            await ended.wait()

    beating = asyncio.create_task(pulse.beat())
    thread = Thread(target=lambda: asyncio.run(serve()), name="forebay-health", daemon=True)
    thread.start()
    try:
        end = await asyncio.wrap_future(up)
        try:
            yield
        finally:
            end()
            await asyncio.to_thread(thread.join, _REQUEST_S)
    finally:
        beating.cancel()


async def _listening(bind: str, routes: Routes, page: Callable[[str], Awaitable[Page]]) -> asyncio.Server:
    host, _, port = bind.rpartition(":")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(reader, writer, routes, page)

    try:
        server = await asyncio.start_server(answer, host.strip("[]"), int(port), limit=_LINE_BYTES)
    except OSError as error:
        raise WrongUsage(f"metrics_bind {bind}: {error.strerror or error}") from error
    # What a handler has forked may outlive us, and would keep the address from the process that follows.
    os.register_at_fork(after_in_child=partial(_leave, server))
    return server


def _leave(server: asyncio.Server) -> None:
    # Only the copy's: where it is served, it goes on.
    for one in server.sockets:
        os.close(one.fileno())


async def _answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    routes: Routes,
    made: Callable[[str], Awaitable[Page]],
) -> None:
    try:
        async with asyncio.timeout(_REQUEST_S):
            method, path = await _request(reader)
            page = await made(path) if path in routes else _NOT_FOUND
            await _write(writer, page if method in ("GET", "HEAD") else _NOT_TAKEN, with_body=method != "HEAD")
    except (OSError, ValueError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _request(reader: asyncio.StreamReader) -> tuple[str, str]:
    """Method and path; the headers are read and dropped."""
    method, target, _ = (await reader.readline()).decode("ascii", errors="replace").split(" ", 2)
    while (await reader.readline()).strip():
        pass
    return method, target.partition("?")[0]


async def _write(writer: asyncio.StreamWriter, page: Page, *, with_body: bool) -> None:
    head = (
        f"HTTP/1.1 {page.status} {_REASONS[page.status]}\r\nContent-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + (page.body if with_body else b""))
    await writer.drain()


def worker_routes(health: "Told") -> Routes:
    """Of one worker in this process."""
    from prometheus_client import generate_latest

    def ready() -> Page:
        return Page(status=200 if health.is_ready else 503, body=orjson.dumps(health.report()))

    return {
        "/metrics": lambda: Page(content_type=METRICS_TYPE, body=generate_latest()),
        "/live": lambda: Page(body=orjson.dumps(health.report())),
        "/ready": ready,
    }


def held_up_routes(silent_s: float) -> Routes:
    """Of one worker in this process, whose event loop has stood still for so long."""
    from prometheus_client import REGISTRY, generate_latest

    why = f"has said nothing for {silent_s:.0f} s: something holds up the event loop"
    told = Page(
        status=503, body=orjson.dumps({"status": "failing", "parts": {"worker": {"state": "failing", "why": why}}})
    )
    return {
        "/metrics": lambda: Page(content_type=METRICS_TYPE, body=generate_latest(Aged(REGISTRY, silent_s))),
        "/live": lambda: told,
        "/ready": lambda: told,
    }


def metrics_routes(registry: "CollectorRegistry") -> Routes:
    """Of a process that is well as long as it answers."""
    from prometheus_client import generate_latest

    well = Page(body=b'{"status":"ok","parts":{}}')
    return {
        "/metrics": lambda: Page(content_type=METRICS_TYPE, body=generate_latest(registry)),
        "/live": lambda: well,
        "/ready": lambda: well,
    }


def supervised_routes(folder: str, names: Sequence[str], running: Mapping[str, Process]) -> Routes:
    """Of several workers, which keep their metrics and what they say of themselves in files of the folder."""

    def state() -> Page:
        told = {
            name: state_of(folder, running[name].pid) if name in running else ("failing", "does not run")
            for name in names
        }
        states = {state for state, _ in told.values()}
        # What one worker leaves undone the others take over: nothing gets done only when all of them fail.
        status = states.pop() if len(states) == 1 else "degraded"
        parts = {name: {"state": state, "why": why} for name, (state, why) in told.items()}
        return Page(status=503 if status == "failing" else 200, body=orjson.dumps({"status": status, "parts": parts}))

    def live() -> Page:
        # By itself it does not end.
        return Page(status=503 if silence_s(folder) else 200, body=state().body)

    return {
        "/metrics": lambda: Page(content_type=METRICS_TYPE, body=exposition_of(folder)),
        "/live": live,
        "/ready": state,
    }
