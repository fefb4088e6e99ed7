"""Asking the OAuth server, at an address that the operator has pinned."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from forebay.ingest.portals.verifier import AppInfo, Claim, Unavailable


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


async def test_no_redirect_is_followed() -> None:
    with site() as (elsewhere, asked_there), site(leads_to=f"{elsewhere}/stolen") as (pinned, asked):
        verdict = await AppInfo([pinned]).verdict(Claim(application="app", member_id="m1", access_token="t"))

    assert isinstance(verdict, Unavailable)
    assert len(asked) == 1 and asked_there == []
