"""A Memcached that ends takes with it what it had: everybody says so, and what comes afterwards is kept and handled."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.memcached.server import MemcachedServer
from tests.order import HANDLERS, Book


def test_the_end_of_the_server_is_told_and_new_events_wait_in_the_spool(
    site: Site, memcached_servers: Callable[..., MemcachedServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOK", str(tmp_path / "handled.log"))
    (site.folder / "shop.py").write_text(HANDLERS)
    book, server = Book(tmp_path / "handled.log"), memcached_servers()
    site.settings |= {"queue_url": server.url(), "session_s": "1"}
    site.start("ingest", "ingest")
    site.start("process", "process", "shop:handlers")
    site.wait("the ingest", site.is_ready)
    site.run("send", "--count", "20", "--portals", "5")
    site.wait("the events", lambda: len(book.read().ended) == 20)

    server.kill()
    server.start()
    server.wait_ready()
    site.run("send", "--count", "5", "--portals", "5")
    site.wait("the worker's word", lambda: "is gone" in site.log("process"))
    status = site.stop("process")
    site.run("topics", "ensure")
    site.start("process", "process", "shop:handlers")

    assert status == 0
    site.wait("what the spool had", lambda: len(book.read().ended) == 25)
    assert "queue_volatile" in site.log("ingest")
    assert site.stop("ingest") == site.stop("process") == 0
