import asyncio
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest

from forebay.ingest.callers.allow_list import AllowList
from forebay.ingest.callers.networks import Networks, network_of
from forebay.ingest.callers.published import BadAllowList, Shelf, fetched, networks_in, networks_of_file

URL = "https://example.com/list.txt"
ONE, OTHER = ip_address("203.0.113.7"), ip_address("2001:db8::7")
HOUR_S = 3600.0

#: Far more than any of these needs.
PATIENCE_S = 20.0


@dataclass
class Publisher:
    """Somebody who publishes a list, or fails to."""

    said: str = "203.0.113.0/24\n"
    asked: list[str] = field(default_factory=list)
    at: float = 1_800_000_000.0

    def fetch(self, url: str) -> str:
        self.asked.append(url)
        if not self.said:
            raise BadAllowList("gone")
        return self.said

    def clock(self) -> float:
        return self.at


def allow_list(publisher: Publisher, folder: Path | None = None, file: Path | None = None) -> AllowList:
    fixed = Networks([network_of("198.51.100.0/24")])
    shelf = Shelf(folder, URL) if folder else None
    return AllowList(fixed=fixed, file=file, url=URL, shelf=shelf, fetch=publisher.fetch, clock=publisher.clock)


async def test_a_published_list_lets_in_who_is_in_it_and_in_the_settings() -> None:
    publisher = Publisher()
    listed = allow_list(publisher)

    await listed.look()

    assert ONE in listed and ip_address("198.51.100.1") in listed
    assert OTHER not in listed and None not in listed
    assert (listed.is_known, listed.state) == (True, "ok")


async def test_a_list_is_fetched_also_when_the_first_fetch_met_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.ingest.callers.allow_list._LOOK_S", 0.002)
    faults = [RuntimeError("can't start new thread")]
    publisher = Publisher()
    fetch = publisher.fetch

    def fetch_at_last(url: str) -> str:
        if faults:
            raise faults.pop()
        return fetch(url)

    monkeypatch.setattr(publisher, "fetch", fetch_at_last)
    listed = allow_list(publisher)
    listed.open()

    async with asyncio.timeout(PATIENCE_S):
        while ONE not in listed:
            await asyncio.sleep(0.001)
    await listed.close()


async def test_a_list_is_fetched_again_when_it_is_time_and_not_before() -> None:
    publisher = Publisher()
    listed = allow_list(publisher)
    await listed.look()

    publisher.said = "2001:db8::/32"
    publisher.at += HOUR_S - 1
    await listed.look()
    assert ONE in listed and OTHER not in listed

    publisher.at += 1
    await listed.look()
    assert OTHER in listed and ONE not in listed
    assert len(publisher.asked) == 2


@pytest.mark.parametrize(
    "said", ["", "<html>Not Found</html>", "\n# nothing\n", "203.0.113.0/24 and more", "0.0.0.0/0"]
)
async def test_the_last_good_list_counts_when_there_is_no_new_one(said: str) -> None:
    publisher = Publisher()
    listed = allow_list(publisher)
    await listed.look()

    publisher.said = said
    publisher.at += HOUR_S * 2
    await listed.look()
    assert (ONE in listed, OTHER in listed, listed.state) == (True, False, "ok")

    publisher.at += HOUR_S * 2
    await listed.look()
    assert ONE in listed
    assert listed.state.startswith("the list is stale: it was read 4.0 h ago; ")


async def test_a_restart_takes_the_last_good_list_and_asks_nobody(tmp_path: Path) -> None:
    first = Publisher()
    await allow_list(first, tmp_path).look()
    # The time of the file is the machine's own.
    first.at = os.stat(tmp_path / "allow-list.txt").st_mtime + 10

    gone = Publisher(said="", at=first.at)
    listed = allow_list(gone, tmp_path)
    await listed.look()

    assert ONE in listed and listed.state == "ok"
    assert gone.asked == []


async def test_a_list_that_was_kept_of_another_address_is_not_taken(tmp_path: Path) -> None:
    Shelf(tmp_path, "https://example.org/other").put(Networks([network_of("203.0.113.0/24")]))

    listed = allow_list(Publisher(said=""), tmp_path)
    await listed.look()

    assert not listed.is_known and ONE not in listed


async def test_while_no_list_was_ever_read_that_is_said() -> None:
    listed = allow_list(Publisher(said=""))

    await listed.look()

    assert not listed.is_known
    assert listed.state == "no list was ever read, so any address may call that has another proof, and no other: gone"


async def test_a_file_counts_as_it_is_and_what_it_said_before_when_it_breaks(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("203.0.113.0/24 # one\n")
    listed = AllowList(fixed=Networks(()), file=file)
    await listed.look()
    assert ONE in listed and OTHER not in listed

    file.write_text("2001:db8::/32\n")
    await listed.look()
    assert OTHER in listed and ONE not in listed

    file.unlink()
    await listed.look()
    assert OTHER in listed and listed.is_known
    assert listed.state.startswith("what the file said before counts: ")


def test_a_list_may_be_lines_or_json() -> None:
    lines = networks_in("# Bitrix24\n203.0.113.0/24\n\n2001:db8::/32 # more\n", "x")

    assert str(networks_in(json.dumps(["203.0.113.0/24", "2001:db8::/32"]), "x")) == str(lines)
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "names no network"), ("nonsense", "'nonsense' is no network"), ("x" * (2 << 20), "is larger than")],
)
def test_a_file_that_is_no_list_says_why(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "list"
    file.write_text(text)

    with pytest.raises(BadAllowList, match=why):
        networks_of_file(file)


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/list")
            self.end_headers()
            return
        body = b"x" * (2 << 20) if self.path == "/large" else b"203.0.113.0/24\n"
        self.send_response(200 if self.path != "/missing" else 404)
        self.send_header("Content-Length", str(len(body) + 2 * (self.path == "/cut")))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_list_is_fetched_by_http(site: str) -> None:
    assert fetched(f"{site}/list") == "203.0.113.0/24\n"


@pytest.mark.parametrize(
    ("path", "why"), [("/moved", "302"), ("/missing", "404"), ("/large", "is larger than"), ("/cut", "2 more expected")]
)
def test_what_is_fetched_is_whole_no_redirection_no_error_and_not_without_end(site: str, path: str, why: str) -> None:
    with pytest.raises(BadAllowList, match=why):
        fetched(site + path)


def test_a_list_that_comes_too_slowly_is_given_up(site: str) -> None:
    times = iter((0.0, 11.0, 11.0))

    with pytest.raises(BadAllowList, match="did not come within 10 s"):
        fetched(f"{site}/list", clock=lambda: next(times))
