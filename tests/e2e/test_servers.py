"""From an HTTP call to the end of a handler on servers of each kind, while the server and a worker are killed."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.databases.server import PASSWORD, DatabaseServer
from tests.e2e.sending import Portals
from tests.e2e.site import Site
from tests.order import HANDLERS, Book, judge

PORTALS, CONNECTIONS, RATE, SEED = 200, 16, 300.0, 20_261_125
BETWEEN = 500


@pytest.fixture(
    params=["postgresql_servers", "mariadb_servers", "redis_servers", "rabbitmq_servers"],
    ids=["postgresql", "mariadb", "redis", "rabbitmq"],
)
def server(site: Site, request: pytest.FixtureRequest) -> DatabaseServer:
    start: Callable[[], DatabaseServer] = request.getfixturevalue(request.param)
    server = start()
    site.settings["queue_url"] = server.url()
    return server


@pytest.fixture
def book(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    monkeypatch.setenv("BOOK", str(tmp_path / "handled.log"))
    (site.folder / "shop.py").write_text(HANDLERS)
    site.settings["session_s"] = "3"
    return Book(tmp_path / "handled.log")


async def test_nothing_is_lost_or_out_of_order_when_the_server_and_a_worker_are_killed(
    site: Site, server: DatabaseServer, book: Book
) -> None:
    # All comes up without it, and takes calls.
    server.stop()
    site.start("ingest", "ingest")
    for name in ("one", "two"):
        site.start(name, "process", "shop:handlers")
    await asyncio.to_thread(site.wait, "the ingest", site.is_ready)
    portals = Portals([site.url], PORTALS, rate=RATE, connections=CONNECTIONS, seed=SEED, in_turn=False)
    sending = asyncio.create_task(portals.run())

    await portals.answered(BETWEEN)
    server.start()
    await portals.answered(BETWEEN)
    for _ in range(2):
        await asyncio.to_thread(server.kill)
        # Calls are answered while the server is away: the spool takes what they bring.
        await portals.answered(BETWEEN // 2)
        server.start()
        await portals.answered(BETWEEN)
    site.running["one"].send_signal(signal.SIGKILL)
    book.gone(site.running["one"].pid)
    await portals.answered(BETWEEN)
    portals.stop()
    await sending
    kept = {event for events in portals.kept.values() for event in events}
    await asyncio.to_thread(site.wait, "every event", lambda: book.read().ended >= kept)
    statuses = [site.stop(name) for name in ("ingest", "two")]

    verdict = judge(portals.kept, book.read().lines)
    assert set(portals.answers) == {"200 accepted"}
    assert verdict.good, verdict
    assert statuses == [0, 0]
    logs = "".join(map(site.log, site.running))
    assert PASSWORD not in logs
    assert quote(PASSWORD, safe="") not in logs


def test_a_server_that_hangs_keeps_nobody_from_stopping(site: Site, server: DatabaseServer, book: Book) -> None:
    site.settings["drain_s"] = "1"
    site.start("ingest", "ingest")
    site.start("process", "process", "shop:handlers")
    site.wait("the ingest", site.is_ready)
    site.run("send", "--count", "20", "--portals", "5")
    site.wait("the events", lambda: len(book.read().ended) == 20)

    server.signal_all(signal.SIGSTOP)
    site.run("send", "--count", "5", "--portals", "5")
    statuses = [site.stop(name) for name in ("ingest", "process")]
    server.signal_all(signal.SIGCONT)
    site.start("ingest", "ingest")
    site.start("process", "process", "shop:handlers")

    assert statuses == [0, 0]
    site.wait("what the spool had", lambda: len(book.read().ended) == 25)
