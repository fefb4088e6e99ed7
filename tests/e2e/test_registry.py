"""`forebay up` with a schema registry, as a person runs it: whatever the registry does, events are kept and handled."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
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


def handled(folder: Path) -> list[str]:
    book = folder / "handled.log"
    return book.read_text().split() if book.exists() else []


def readiness(site: Any) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/ready", timeout=10) as answer:
        return json.loads(answer.read())


def send(site: Any, count: int) -> Any:
    sent = site.run("send", "--portals", "20", "--count", str(count), "--json")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    return json.loads(sent.stdout)


def test_events_pass_before_the_registry_comes_while_it_is_there_and_after_it_went(
    site: Any, registry: FakeRegistry
) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    site.settings["schema_registry_url"] = registry.url
    registry.down()
    site.start("up", "up", "shop:handlers")
    site.wait("ready", lambda: "ready after" in site.log("up"))
    before = readiness(site)
    reports = [send(site, 200)]
    registry.up()
    site.wait("the registration", lambda: readiness(site)["status"] == "ok")
    reports.append(send(site, 200))
    registry.down()
    reports.append(send(site, 200))
    site.wait("the last event", lambda: len(handled(site.folder)) >= 600)
    registry.up()
    shown = site.run("tail", "--from", "earliest", "--count", "600", "--json").stdout.splitlines()
    doctor = site.run("doctor").stdout
    stopped = site.stop("up")

    assert before["status"] == "degraded"
    assert [report["answers"] for report in reports] == [{"200 accepted": 200}] * 3
    assert reports[1]["lost"] == reports[1]["out_of_order"] == reports[1]["changed"] == 0
    # The command has nobody to ask by then, and says so rather than calling the events lost.
    assert (reports[2]["checked"], "schema_registry_url" in str(reports[2]["not_checked_because"])) == (False, True)
    assert not [line for line in shown if "undecodable" in json.loads(line)]
    assert "has our schema, with id 1" in doctor
    assert stopped == 0
    assert len(set(handled(site.folder))) == len(handled(site.folder)) == 600


def test_a_table_that_can_not_work_stops_the_start(site: Any, registry: FakeRegistry) -> None:
    site.settings |= {"schema_registry_url": registry.url, "schema_registry": '{"ssl.ca.loc": "x"}'}

    done = site.run("ingest")

    assert done.returncode == 1
    assert "schema_registry" in done.stderr
    assert "ssl.ca.loc" in done.stderr
