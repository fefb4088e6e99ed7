"""Who may call from where, on real connections."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.ports import free_ports

from .conftest import TOKEN, Served, Start

FORM = f"event=ONCRMDEALADD&data[FIELDS][ID]=9&auth[domain]=a.bitrix24.ru&auth[application_token]={TOKEN}".encode()
AUTH = {"auth": "tokens", "tokens": {"*": TOKEN}}


def status(served: Served, *forwarded: bytes) -> int:
    """Of an event with these lines of X-Forwarded-For."""
    lines = b"".join(b"X-Forwarded-For: " + line + b"\r\n" for line in forwarded)
    head = b"POST /bitrix24 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(FORM)
    return int(served.raw(head + lines + b"\r\n" + FORM).split()[1])


@pytest.fixture(scope="module")
def behind_proxy(start: Start) -> Served:
    return start(**AUTH, callers={"allow": ["203.0.113.0/24"], "trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]})


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ((b"203.0.113.7",), 200),
        # Two proxies, each with a line of its own.
        ((b"198.51.100.1, 203.0.113.7", b"10.0.0.9"), 200),
        ((), 403),
        ((b"203.0.113.7, 198.51.100.1",), 403),
        ((b"203.0.113.7", b"198.51.100.1"), 403),
        ((b"203.0.113.7", b"198.51.100.1", b"10.0.0.9"), 403),
    ],
)
async def test_only_the_address_that_our_proxy_saw_counts(
    behind_proxy: Served, forwarded: tuple[bytes, ...], expected: int
) -> None:
    before = len(await behind_proxy.stored())

    assert status(behind_proxy, *forwarded) == expected
    assert len(await behind_proxy.stored()) == before + (expected == 200)


@pytest.mark.parametrize(("allowed", "expected"), [("::1", 200), ("2001:db8::/32", 403)])
def test_calls_by_ipv6_are_allowed_and_refused_like_others(start: Start, allowed: str, expected: int) -> None:
    served = start(host="[::1]", **AUTH, callers={"allow": allowed})

    assert status(served, b"2001:db8::7") == expected


class _Publisher(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"127.0.0.0/8\n")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def published() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Publisher)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_published_list_outlives_its_publisher_and_a_restart(start: Start, published: ThreadingHTTPServer) -> None:
    url = f"http://127.0.0.1:{published.server_port}/list"
    first = start(**AUTH, callers={"allow_url": url})
    while first.call("/ready")[1].find(b'"allow_list":"ok"') < 0:
        pass
    assert status(first) == 200
    assert first.stop() == 0
    published.server_close()

    second = start(**AUTH, data_dir=first.settings["data_dir"], callers={"allow_url": url})

    assert b'"allow_list":"ok"' in second.call("/ready")[1]
    assert status(second) == 200


def test_a_file_that_is_no_list_stops_the_start_and_is_named(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text("nonsense")
    [port] = free_ports(1)
    (tmp_path / "forebay.toml").write_text(f'bind = "127.0.0.1:{port}"\ncallers = {{ allow_file = "{file}" }}\n')

    done = subprocess.run(
        [sys.executable, "-m", "forebay.console.cli", "ingest"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert f"{file}: 'nonsense' is no network" in done.stderr
