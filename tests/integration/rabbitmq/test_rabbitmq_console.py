"""`forebay doctor` and `forebay topics` over RabbitMQ."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from forebay.queues.errors import Unsupported
from forebay.queues.opening import open_queue
from forebay.queues.rabbitmq import diagnosis
from forebay.queues.settings import QueueSettings
from tests.databases.console import Command
from tests.rabbitmq.server import Server, url


@pytest.fixture
def forebay(rabbitmq_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(rabbitmq_url)


def test_topics_are_planned_and_made(forebay: Command) -> None:
    planned = forebay.run("topics", "plan", status=1)
    missing = forebay.findings()
    forebay.run("topics", "ensure")

    assert "stream bitrix24.events with 12 partitions" in planned
    assert missing["queue"]["remedy"] == "forebay topics ensure"
    forebay.run("topics", "plan")
    assert len(forebay.run("lag", "--json").splitlines()) == 12


def test_a_healthy_server_is_found_so_and_what_it_can_not_promise_is_told(forebay: Command) -> None:
    forebay.run("topics", "ensure")

    found = forebay.findings()

    checks = ["queue", *(f"queue {name}" for name in ("version", "alarms", "streams", "size"))]
    assert {check: found[check]["state"] for check in checks} == dict.fromkeys(checks, "ok")
    assert found["queue durability"]["state"] == "warn"
    assert "power cut" in found["queue durability"]["detail"]


def test_an_old_server_is_found(forebay: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_OLDEST", (1_000, 0))

    assert "upgrade" in forebay.findings()["queue version"]["remedy"]


def test_rights_that_lack_are_found(forebay: Command, rabbitmq: Server) -> None:
    forebay.run("topics", "ensure")
    rabbitmq.control("add_user", "doctored", "hush")
    rabbitmq.control("set_permissions", "doctored", "^$", "^$", "^forebay:")
    try:
        forebay.url = url(urlsplit(forebay.url).port or 0, "/", "doctored", "hush")
        found = forebay.findings(status=1)
    finally:
        rabbitmq.control("delete_user", "doctored")

    assert found["queue alarms"]["state"] == "fail"
    assert "set_permissions" in found["queue alarms"]["remedy"]
    assert found["queue streams"]["state"] == "ok"


@pytest.mark.parametrize(
    ("told", "user", "vhost", "port"),
    [
        ("login was refused", "stranger", "/", None),
        ("add_vhost", "forebay", "nowhere", None),
        ("refused", "forebay", "/", 1),
    ],
)
def test_why_nobody_comes_in_is_told(
    forebay: Command, rabbitmq: Server, told: str, user: str, vhost: str, port: int | None
) -> None:
    forebay.url = url(port or rabbitmq.port, vhost, user)

    found = forebay.findings(status=1)["queue"]

    assert found["state"] == "fail"
    assert told in f"{found['detail']} {found['remedy']}"


def test_a_registry_of_portals_is_refused_with_the_reason(forebay: Command) -> None:
    with pytest.raises(Unsupported, match="nothing of a stream can be erased"):
        open_queue(QueueSettings(queue_url=forebay.url)).portals("bitrix24.events")
