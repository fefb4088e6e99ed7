"""`forebay doctor` and `forebay topics` over Memcached."""

import base64
import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forebay.console.cli import build
from forebay.queues.bad_settings import BadSettings
from tests.databases.console import Command
from tests.memcached.server import MemcachedServer


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
        for _ in range(60):
            strangers.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        found = Command(server.url()).findings(status=1)["queue"]

    assert found["state"] == "fail"
    assert "-c" in found["detail"] + found["remedy"]


def test_a_registry_of_portals_is_refused(forebay: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_AUTH", "registry")
    monkeypatch.setenv("FOREBAY_CLIENT_ID", "app")
    monkeypatch.setenv("FOREBAY_SEAL_KEYS", json.dumps({"2026": base64.b64encode(bytes(32)).decode()}))

    told = [CliRunner().invoke(build(), ["--queue-url", forebay.url, *command]) for command in (["doctor"], ["ingest"])]

    for one in told:
        assert isinstance(one.exception, BadSettings)
        assert "auth=registry" in str(one.exception)
