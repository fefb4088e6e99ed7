"""The canary beside real processes: its events go the whole way, and are nobody's."""

import json
import os
import re
import select
from collections.abc import Iterator

import pytest

from tests.answers import metrics_of
from tests.bitrix24.oauth import FakeOAuth
from tests.ports import free_ports

from .site import Site

TOKEN = "51856fefc120afa4b628cc82d3935cce"
SECRET = "a-secret-in-the-url-0123456789"
KEY = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="

HANDLERS = """
import os

from forebay import Handlers

handlers = Handlers()
book = os.open("handled.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
async def handle(event):
    os.write(book, f"{event.portal} {event.name}\\n".encode())
"""


@pytest.fixture
def oauth() -> Iterator[FakeOAuth]:
    with FakeOAuth() as fake:
        yield fake


def seen(metrics: int) -> dict[str, float]:
    lines = metrics_of(metrics).splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def sent(metrics: int) -> float:
    """How many events, as far as it answers."""
    try:
        return seen(metrics)["forebay_canary_sent_total"]
    except OSError:
        return 0.0


def test_a_log_that_nobody_reads_keeps_the_canary_from_nothing(site: Site) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    [metrics] = free_ports(1)
    site.start("up", "up", "shop:handlers")
    site.wait("the ingest", site.is_ready)
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb"):
        while select.select([], [writing], [], 0)[1]:
            os.write(writing, b"." * select.PIPE_BUF)

        site.start("canary", "canary", "--every", "0.1", "--metrics-bind", f"127.0.0.1:{metrics}", output=writing)
        site.wait("more than one event of the canary", lambda: sent(metrics) > 1)

        assert site.stop("canary") == 0


def test_the_canary_sees_its_events_finished_and_no_handler_does(site: Site) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    site.settings |= {"auth": "tokens", "tokens": json.dumps({"canary.forebay.invalid": TOKEN, "*": "0" * 32})}
    [metrics] = free_ports(1)
    site.start("up", "up", "shop:handlers")
    site.wait("the ingest", site.is_ready)

    once = site.run("canary", "--once", "--json")
    nobody = site.run("canary", "--once", "--json", "--group", "nobody", "--timeout", "3")
    refused = site.run("canary", "--once", "--token", "1" * 32)
    site.start("canary", "canary", "--every", "0.1", "--metrics-bind", f"127.0.0.1:{metrics}")
    site.wait("a canary's line", lambda: site.log("canary").count("finished after") > 1)
    shown = seen(metrics)
    status = site.stop("canary")
    assert site.run("send", "--portals", "1", "--count", "1").returncode == 0
    site.wait("the handler", lambda: (site.folder / "handled.log").read_bytes().count(b"\n") > 0)

    told = json.loads(once.stdout)
    assert (once.returncode, told["ok"], told["missed"]) == (0, True, None)
    assert 0 < told["answered"] <= told["queued"] <= told["finished"]
    assert (nobody.returncode, json.loads(nobody.stdout)["missed"]) == (1, "finished")
    assert refused.returncode == 1
    assert "not answered: 403 not_our_portal; list a token" in refused.stdout
    assert status == 0
    assert shown["forebay_canary_seen_total"] >= 1
    assert shown["forebay_canary_last_success_timestamp_seconds"] > 1_000_000_000
    assert shown['forebay_canary_seconds_count{stage="finished"}'] == shown["forebay_canary_seen_total"]
    assert shown['forebay_canary_missed_total{stage="answered"}'] == 0
    assert re.fullmatch(r"portal-1\S* \S+\n", (site.folder / "handled.log").read_text())
    assert TOKEN not in site.log("up") + site.log("canary") + once.stdout + once.stderr


@pytest.mark.parametrize(("way", "key"), [("url-secret", "domain"), ("registry", "domain"), ("registry", "member_id")])
def test_the_canary_needs_no_more_than_a_portal_and_asks_no_oauth_server(
    site: Site, oauth: FakeOAuth, way: str, key: str
) -> None:
    registry = {"client_id": "app.1", "oauth_urls": json.dumps([oauth.url]), "seal_keys": json.dumps({"k1": KEY})}
    site.settings |= {"auth": way, "key": key} | (registry if way == "registry" else {"url_secret": SECRET})
    assert site.run("topics", "ensure").returncode == 0
    site.start("ingest", "ingest")
    site.wait("the ingest", site.is_ready)

    done = site.run("canary", "--once", "--json", "--until", "queued")
    status = site.stop("ingest")

    assert (done.returncode, json.loads(done.stdout)["ok"]) == (0, True), done.stdout + done.stderr
    assert status == 0
    assert oauth.asked == []
    if way == "registry":
        assert site.run("portals", "list", "--json").stdout == ""
    assert SECRET not in site.log("ingest") + done.stdout + done.stderr
