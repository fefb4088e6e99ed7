"""Asking the OAuth server, at an address that the operator has pinned."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from forebay.ingest.portals.verifier import AppInfo, Claim, Unavailable, _Question


@contextmanager
def site(leads_to: str = "") -> Iterator[tuple[str, list[str]]]:
    """A server, and what it was asked for; it sends everybody on, or has nothing."""

    class Site(BaseHTTPRequestHandler):
        asked: ClassVar[list[str]] = []

        def do_GET(self) -> None:
            self.asked.append(self.path)
            self.send_response(302 if leads_to else 404)
            self.send_header("Location", leads_to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", Site.asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


CLAIM = Claim(application="app", member_id="m1", access_token="t")


@contextmanager
def dripping() -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """A server whose answer comes byte by byte; when it has begun, and when its connection is gone."""
    begun, gone = threading.Event(), threading.Event()

    def drip() -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 60000\r\n\r\n")
            begun.set()
            connection.settimeout(0.01)
            while not gone.is_set():
                connection.sendall(b" ")
                with suppress(TimeoutError):
                    while connection.recv(1000):
                        pass
                    break
        gone.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", begun, gone
        finally:
            gone.set()
            thread.join()


async def test_an_answer_that_comes_byte_by_byte_is_none_and_keeps_no_thread() -> None:
    with dripping() as (url, _, gone):
        verdict = await AppInfo([url], answer_s=0.2).verdict(CLAIM)

        assert isinstance(verdict, Unavailable)
        assert await asyncio.to_thread(gone.wait, 10)


async def test_who_stops_waiting_leaves_no_thread_behind_that_does() -> None:
    with dripping() as (url, begun, gone):
        asking = asyncio.create_task(AppInfo([url]).verdict(CLAIM))
        await asyncio.to_thread(begun.wait, 10)

        asking.cancel()

        assert await asyncio.to_thread(gone.wait, 5)


def test_an_answer_that_breaks_off_leaves_no_connection_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        question = _Question(f"http://127.0.0.1:{server.getsockname()[1]}", 0.2)

        with ThreadPoolExecutor() as threads:
            asking = threads.submit(question.answer, "t")
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 60\r\n\r\n{")
                error = asking.exception(10)

    # Whoever keeps the error keeps what was read from.
    assert isinstance(error, TimeoutError)
    assert question._socket is not None and question._socket.fileno() == -1


def test_the_same_while_it_connects() -> None:
    with dripping() as (url, _, _):
        question = _Question(url, 10)

        question.cut()

        with pytest.raises(ConnectionAbortedError):
            question.answer("t")


async def test_no_redirect_is_followed() -> None:
    with site() as (elsewhere, asked_there), site(leads_to=f"{elsewhere}/stolen") as (pinned, asked):
        verdict = await AppInfo([pinned]).verdict(CLAIM)

    assert isinstance(verdict, Unavailable)
    assert len(asked) == 1 and asked_there == []
