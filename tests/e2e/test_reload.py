"""SIGHUP: an ingest that serves goes on by what its settings are by now, and no call is lost by it."""

import asyncio
import json
import signal
import socket
from pathlib import Path

import pytest

from tests.answers import called
from tests.e2e.newcomers import Newcomers
from tests.e2e.site import Site
from tests.e2e.standing import ids
from tests.kafka.fixtures import Kafka

OLD, NEW = "51856fefc120afa4b628cc82d3935cce", "0d9b5c7e1f3a48b6a2c4e6f8091b3d5f"
TAKEN, LEFT = "the settings were read again", "the settings stay as they were"
RELOADS = 3


@pytest.fixture
def tokens(site: Site) -> Path:
    """The file of the setting."""
    file = site.folder / "tokens.json"
    write(file, OLD)
    site.settings |= {"auth": "tokens", "tokens_file": str(file)}
    return file


@pytest.fixture
def ingest(site: Site, tokens: Path) -> Site:
    site.start("ingest", "ingest")
    site.wait("the ingest", site.is_ready)
    return site


def write(tokens: Path, *valid: str) -> None:
    tokens.write_text(json.dumps({"*": valid}))


def answered(site: Site, token: str) -> int:
    body = f"event=ONAPPTEST&auth[domain]=visitor.example&auth[application_token]={token}"
    return called(site.url, body.encode())[0]


def hang_up(site: Site, told: str) -> str:
    """The line about it in the log of the ingest."""

    def lines() -> list[str]:
        return [line for line in site.log("ingest").splitlines() if told in line]

    before = len(lines())
    site.running["ingest"].send_signal(signal.SIGHUP)
    site.wait(told, lambda: len(lines()) > before)
    return lines()[-1]


async def test_settings_that_were_changed_hold_from_then_on_and_no_call_is_lost(ingest: Site, tokens: Path) -> None:
    portals = Newcomers(ingest.url, OLD)
    first = answered(ingest, NEW)
    write(tokens, OLD, NEW)

    async with portals.sending():
        for number in range(RELOADS):
            await portals.answered(100)
            before = ingest.workers()
            line = await asyncio.to_thread(hang_up, ingest, TAKEN)
            await asyncio.to_thread(ingest.wait, "new workers", lambda: not {*before} & {*ingest.workers()})  # noqa: B023
            assert json.loads(line)["changed"] == ("" if number else "tokens")
        await portals.answered(100)
        now = await asyncio.to_thread(answered, ingest, NEW)

    assert (first, now) == (403, 200)
    assert ingest.stop("ingest") == 0
    assert portals.not_kept == []
    stands = await ids(ingest)
    assert len(stands.pop("visitor.example")) == 1
    assert stands == portals.kept
    assert OLD not in ingest.log("ingest") and NEW not in ingest.log("ingest")


def test_settings_that_can_not_be_used_change_nothing(ingest: Site, tokens: Path) -> None:
    workers, written = ingest.workers(), ingest.folder / "forebay.toml"

    tokens.write_text("{")
    of_broken = json.loads(hang_up(ingest, LEFT))["why"]
    write(tokens, OLD, NEW)
    written.write_text('metrics_bind = "127.0.0.1:1"\nack_deadline_ms = "soon"\n')
    of_wrong = json.loads(hang_up(ingest, LEFT))["why"]
    written.write_text('metrics_bind = "127.0.0.1:1"\n')
    of_fixed = json.loads(hang_up(ingest, LEFT))["why"]

    assert "FOREBAY_TOKENS" in of_broken
    assert "ack_deadline_ms" in of_wrong
    assert of_fixed == "metrics_bind: another value needs a stop and a start"
    assert ingest.workers() == workers
    assert (answered(ingest, OLD), answered(ingest, NEW)) == (200, 403)

    written.write_text("ingest_processes = 2\n")
    assert json.loads(hang_up(ingest, TAKEN))["changed"] == "ingest_processes, tokens"
    ingest.wait("two new workers", lambda: len(ingest.workers()) == 2 and not {*workers} & {*ingest.workers()})
    assert (answered(ingest, OLD), answered(ingest, NEW)) == (200, 200)
    assert ingest.stop("ingest") == 0


@pytest.mark.kafka
def test_a_way_into_kafka_that_can_not_work_costs_no_worker(kafka: Kafka, site: Site) -> None:
    written, topic = site.folder / "forebay.toml", site.folder.name.replace("_", "-")
    site.settings |= {"queue_url": kafka.url, "topic": topic}
    site.start("ingest", "ingest")
    site.wait("the ingest", lambda: site.is_ready() and site.has_its_queue())
    workers = site.workers()

    written.write_text('kafka = { "security.protocol" = "SSL", "ssl.ca.location" = "/nowhere/ca.pem" }\n')
    of_missing = json.loads(hang_up(site, LEFT))["why"]
    written.write_text('kafka = { "max.in.flight" = 10 }\n')
    of_conflict = json.loads(hang_up(site, LEFT))["why"]

    assert "ssl.ca.location: /nowhere/ca.pem can't be read" in of_missing
    assert "`max.in.flight` must be set <= 5" in of_conflict
    assert site.workers() == workers
    assert called(site.url, b"event=ONAPPTEST&auth[domain]=visitor.example")[0] == 200
    assert site.stop("ingest") == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_does_not_wait_for_the_calls_of_workers_that_are_replaced(site: Site, how: signal.Signals) -> None:
    site.settings["body_timeout_s"] = "60"
    site.start("ingest", "ingest")
    site.wait("the ingest", site.is_ready)
    body = b"event=ONAPPTEST&auth[domain]=visitor.example"
    [old] = site.workers()
    with socket.create_connection(("127.0.0.1", site.port)) as caller:
        caller.sendall(b"POST /bitrix24 HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n")
        caller.sendall(b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert caller.recv(1024).startswith(b"HTTP/1.1 100")
        hang_up(site, TAKEN)
        site.wait("a new worker", lambda: len(site.workers()) == 2 and site.is_ready())

        site.running["ingest"].send_signal(how)

        site.wait("the end of the new one", lambda: len(site.workers()) == 1)
        assert site.workers() == [old]
        caller.sendall(body)
        assert caller.recv(1024).startswith(b"HTTP/1.1 200")
    assert site.running["ingest"].wait(60) == 0
