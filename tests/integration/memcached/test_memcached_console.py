"""`forebay doctor` and `forebay topics` over Memcached."""

import asyncio
import base64
import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from pymemcache import MemcacheError
from typer.testing import CliRunner

from forebay.console.cli import build
from forebay.console.reading import opened, producing
from forebay.queues.bad_settings import BadSettings
from forebay.queues.contract import Record
from forebay.queues.errors import QueueError
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from tests.databases.console import Command
from tests.memcached.server import MemcachedServer, direct


@pytest.fixture
def forebay(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(url)


def test_that_it_keeps_nothing_is_found(forebay: Command) -> None:
    forebay.run("topics", "ensure")

    found = forebay.findings()

    assert found["queue durability"]["state"] == "warn"
    assert {name: found[f"queue {name}"]["state"] for name in ("version", "connections")} == {
        "version": "ok",
        "connections": "ok",
    }


@pytest.mark.parametrize(("item", "state"), [("1m", "warn"), ("4m", "ok")])
def test_items_that_are_smaller_than_an_event_are_found(
    memcached_servers: Callable[..., MemcachedServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    item: str,
    state: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    found = Command(memcached_servers("-I", item).url()).findings()["queue items"]

    assert found["state"] == state
    assert ("max_body_bytes" in found["remedy"]) is (state == "warn")


def test_a_server_that_takes_no_more_connections_is_found(
    memcached_servers: Callable[..., MemcachedServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = memcached_servers("-c", "60")

    with ExitStack() as strangers:
        _take_every_connection(server.url(), strangers)
        found = Command(server.url()).findings(status=1)["queue"]

    assert found["state"] == "fail"
    assert "-c" in found["detail"] + found["remedy"]


def _take_every_connection(url: str, strangers: ExitStack) -> None:
    held: list[Any] = []
    while True:
        stranger = direct(url)
        try:
            stranger.version()
        except (MemcacheError, OSError):
            # One that started the server may be on its way out, and would leave its place to the next.
            if int(held[0].stats()[b"curr_connections"]) == len(held):
                return
        else:
            held.append(strangers.enter_context(closing(stranger)))


def test_a_registry_of_portals_is_refused(forebay: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_AUTH", "registry")
    monkeypatch.setenv("FOREBAY_CLIENT_ID", "app")
    monkeypatch.setenv("FOREBAY_SEAL_KEYS", json.dumps({"2026": base64.b64encode(bytes(32)).decode()}))

    told = [CliRunner().invoke(build(), ["--queue-url", forebay.url, *command]) for command in (["doctor"], ["ingest"])]

    for one in told:
        assert isinstance(one.exception, BadSettings)
        assert "auth=registry" in str(one.exception)


@pytest.mark.parametrize("order", [("parked", "hold", "--portal", "a.example"), ("dead", "replay", "--all")])
def test_what_no_worker_would_obey_is_not_ordered(forebay: Command, order: tuple[str, ...]) -> None:
    forebay.run("topics", "ensure")
    asyncio.run(_put_a_dead_letter(forebay.url))

    refused = CliRunner().invoke(build(), ["--queue-url", forebay.url, *order, "--yes"])

    assert isinstance(refused.exception, QueueError)
    assert "workers obey no orders" in str(refused.exception)
    assert len(forebay.run("dead", "list", "--json").splitlines()) == 1
    assert forebay.run("audit", "--json") == ""


async def _put_a_dead_letter(url: str) -> None:
    settings = QueueSettings(queue_url=url)
    letter = Record(key="a.example", value=b"x", timestamp_ms=5, headers=((names.DEAD_GROUP, b"forebay"),))
    async with opened(settings) as queue, producing(queue, settings.topic) as producer:
        await producer.send(names.dead(settings.topic), letter)
