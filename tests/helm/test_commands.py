"""The very commands of the rendered pods, run as nobody on a root that can't be written to, against a real Kafka."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.kafka.secured import PASSWORDS, Secured
from tests.order import HANDLERS, Book
from tests.ports import free_ports

from .chart import named, objects, pod_of, rendered
from .pods import ENTRYPOINT, Machine, Pod, folder_for, needed, shown
from .toolbox import tool

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

TOKEN = "0123456789abcdef0123456789abcdef"


def values(bootstrap: str, ingest: int, metrics: tuple[int, int]) -> dict[str, Any]:
    """SCRAM over TLS, tokens and keys from Secrets, and everything at ports of this test."""
    return {
        "queue": {"topic": f"events-{uuid4().hex[:8]}", "partitions": 4},
        "kafka": {
            "brokers": [bootstrap],
            "sasl": {"mechanism": "SCRAM-SHA-512", "existingSecret": "kafka-user", "usernameKey": "user"},
            "tls": {"enabled": True, "caSecret": "kafka-ca"},
        },
        "auth": {"policies": ["tokens"], "tokens": {"existingSecret": "portals"}},
        "sealing": {"existingSecret": "keys"},
        "ingest": {"processes": 2, "port": ingest, "metricsPort": metrics[0], "service": {"port": ingest}},
        "processors": {
            "crm": {
                "handlers": "shop:handlers",
                "processes": 2,
                "sealKeys": True,
                "metricsPort": metrics[1],
                "extraEnv": [{"name": "BOOK", "value": "/book/handled.log"}],
                "extraVolumes": [{"name": "book", "persistentVolumeClaim": {"claimName": "book"}}],
                "extraVolumeMounts": [{"name": "book", "mountPath": "/book"}],
            }
        },
    }


async def test_the_commands_of_the_pods_take_an_event_from_the_door_to_the_handler(
    secured: Secured, tmp_path: Path
) -> None:
    needed()
    tool("helm")
    ingest_port, *metrics = free_ports(3)
    given = values(secured.at("SASL_SSL"), ingest_port, (metrics[0], metrics[1]))
    found = objects(rendered([given]))
    (app := tmp_path / "app").mkdir()
    (app / "shop.py").write_text(HANDLERS)
    machine = Machine(
        folder=tmp_path,
        app=app,
        names=["app-forebay-ingest.events.svc"],
        secrets={
            "kafka-user": {"user": "forebay", "password": PASSWORDS["forebay"]},
            "kafka-ca": {"ca.crt": secured.authority.read_text("ascii")},
            "portals": {"tokens.json": json.dumps({"*": TOKEN})},
            "keys": {"seal-keys.json": json.dumps({"k1": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="})},
        },
    )

    def pod(kind: str, name: str, **claims: Path) -> Pod:
        made = pod_of(named(found, kind, name))
        assert made is not None
        return Pod(name, made, machine, claims)

    topics = pod("Job", "app-forebay-topics")
    ingest = pod("StatefulSet", "app-forebay-ingest", data=folder_for(tmp_path / "claims" / "data"))
    processor = pod("Deployment", "app-forebay-crm", book=folder_for(tmp_path / "claims" / "book"))
    sender = pod("Pod", "app-forebay-test")
    try:
        topics.start()
        assert topics.end() == 0, topics.log
        ingest.start()
        await ingest.ready()
        processor.start()
        await processor.ready()

        sender.start()
        assert sender.end() == 0, sender.log
        # The canary's event is finished by now, and was given to no handler.
        ingest.exec(*ENTRYPOINT, "send", "--portals", "1", "--count", "1")
        book = Book(tmp_path / "claims" / "book" / "handled.log")
        while not book.read().ended:
            assert not processor.faults

        [told] = shown(processor.exec(*ENTRYPOINT, "lag", "--json"))[:1]
        with pytest.raises(AssertionError, match="Read-only file system"):
            ingest.exec("touch", "/opt/forebay/touched")
        assert ingest.exec("id", "--user").strip() == "10001"
        statuses = [await ingest.stop(), await processor.stop()]
    finally:
        for one in (topics, ingest, processor, sender):
            one.kill()

    assert told["partition"] == 0
    assert statuses == [0, 0]
    assert ingest.faults == processor.faults == []
    assert len(book.ended) == 1
