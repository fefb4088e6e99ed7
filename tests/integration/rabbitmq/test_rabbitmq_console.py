"""`forebay doctor` and `forebay topics` over RabbitMQ."""

from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest

from forebay.queues.errors import Unsupported
from forebay.queues.opening import open_queue
from forebay.queues.rabbitmq import diagnosis, logs
from forebay.queues.settings import QueueSettings
from tests.databases.console import Command
from tests.rabbitmq.server import Server, direct, url


@pytest.fixture
def forebay(rabbitmq_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(rabbitmq_url)


def test_a_healthy_server_is_found_so(forebay: Command) -> None:
    forebay.run("topics", "ensure")

    found = forebay.findings()

    checks = [
        "queue",
        *(f"queue {name}" for name in ("version", "channels", "alarms", "streams", "intakes", "dead letters", "size")),
    ]
    assert {check: found[check]["state"] for check in checks} == dict.fromkeys(checks, "ok")


def test_streams_of_before_there_were_intakes_get_them(forebay: Command) -> None:
    forebay.run("topics", "ensure")
    name = logs.intake(logs.partition_log("bitrix24.events", 3))
    with closing(direct(forebay.url)) as connection:
        channel = connection.channel()
        channel.queue_delete(name)
        channel.queue_delete(logs.CATALOG)
        channel.queue_declare(logs.CATALOG, durable=True, arguments=logs.arguments())
        told = orjson.dumps({"stream": "bitrix24.events", "partitions": 12})
        channel.basic_publish("", logs.CATALOG, logs.entry(b"12345678", 1, told))

    planned = forebay.run("topics", "plan", status=1)
    forebay.run("topics", "ensure")
    forebay.run("topics", "plan")

    assert "stream bitrix24.events with 12 partitions" in planned
    with closing(direct(forebay.url)) as connection:
        connection.channel().queue_declare(name, passive=True)


def test_what_can_not_be_forwarded_is_found(forebay: Command) -> None:
    forebay.run("topics", "ensure")
    with closing(direct(forebay.url)) as connection:
        connection.channel().basic_publish("", logs.DEAD_LETTERS, b"garbage")
        while not connection.channel().queue_declare(logs.DEAD_LETTERS, passive=True).method.message_count:
            connection.sleep(0.01)

    found = forebay.findings()["queue dead letters"]

    assert found["state"] == "warn"
    assert "docs/rabbitmq.md" in found["remedy"]


def test_dead_letters_that_have_no_queue_any_more_get_one(forebay: Command) -> None:
    forebay.run("topics", "ensure")
    with closing(direct(forebay.url)) as connection:
        connection.channel().queue_delete(logs.DEAD_LETTERS)

    found = forebay.findings(status=1)["queue dead letters"]
    forebay.run("topics", "ensure")

    assert found["remedy"] == "forebay topics ensure"
    assert forebay.findings()["queue dead letters"]["state"] == "ok"


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
        ("check that RabbitMQ runs", "forebay", "/", 1),
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
