"""`forebay up` with a schema registry, as a person runs it: whatever the registry does, events are kept and handled."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.registry.fake import FakeRegistry

HANDLERS = """
import os

from forebay import Handlers

handlers = Handlers()
book = os.open("handled.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
async def handle(event):
    os.write(book, f"{event.id}\\n".encode())
"""


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


def readiness(site: Any) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/ready", timeout=10) as answer:
        return json.loads(answer.read())


def send(site: Any, count: int) -> Any:
    sent = site.run("send", "--portals", "20", "--count", str(count), "--json")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    return json.loads(sent.stdout)


def post(site: Any, count: int) -> None:
    for number in range(count):
        body = f"event=ONCRMDEALADD&data[FIELDS][ID]={number}&auth[domain]=one.bitrix24.example".encode()
        with urllib.request.urlopen(site.url, data=body, timeout=10) as answer:  # noqa: S310 - our own ingest
            assert json.loads(answer.read())["status"] == "accepted"


@pytest.mark.timeout(400)  # it starts eight processes
def test_events_pass_before_the_registry_comes_while_it_is_there_and_after_it_went(
    site: Any, registry: FakeRegistry
) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    site.settings["schema_registry_url"] = registry.url
    registry.down()
    site.start("up", "up", "shop:handlers")
    site.wait("ready", lambda: "ready after" in site.log("up"))
    before = readiness(site)
    post(site, 20)
    registry.up()
    site.wait("the registration", lambda: readiness(site)["status"] == "ok")
    with_registry = send(site, 200)
    registry.down()
    without = send(site, 100)
    site.wait("the last event", lambda: len(site.handled()) >= 320)
    registry.up()
    shown = site.run("tail", "--from", "earliest", "--count", "320", "--json").stdout.splitlines()
    stopped = site.stop("up")

    assert before["status"] == "degraded"
    assert with_registry["answers"] == {"200 accepted": 200}
    assert with_registry["lost"] == with_registry["out_of_order"] == with_registry["changed"] == 0
    assert without["answers"] == {"200 accepted": 100}
    # The command has nobody to ask by then, and says so rather than calling the events lost.
    assert not without["checked"]
    assert "schema_registry_url" in without["not_checked_because"]
    assert not [line for line in shown if "undecodable" in json.loads(line)]
    assert stopped == 0
    assert len(set(site.handled())) == len(site.handled()) == 320


def test_a_table_that_can_not_work_stops_the_start(site: Any, registry: FakeRegistry) -> None:
    site.settings |= {"schema_registry_url": registry.url, "schema_registry": '{"ssl.ca.loc": "x"}'}

    alone, whole = site.run("ingest"), site.run("up")

    assert (alone.returncode, whole.returncode) == (2, 2)
    assert "schema_registry" in alone.stderr
    assert "ssl.ca.loc" in alone.stderr
