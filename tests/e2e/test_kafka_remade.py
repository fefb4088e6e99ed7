"""A topic that somebody deletes under a running ingest, and makes anew with another number of partitions."""

import json

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # they are public, but in no __all__

from tests.answers import called
from tests.e2e.site import Site
from tests.kafka.fixtures import Kafka

#: Kafka's client believes for half a minute that a topic was only just made.
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

PORTALS = [f"portal-{number}.bitrix24.example" for number in range(8)]


def call(site: Site, number: int) -> list[int]:
    """Each portal's event of that number."""
    bodies = [f"event=ONCRMDEALADD&data[FIELDS][ID]={number}&auth[domain]={one}" for one in PORTALS]
    return [called(site.url, body.encode())[0] for body in bodies]


def test_what_comes_meanwhile_waits_in_the_spool_until_the_topic_is_as_it_was(kafka: Kafka, site: Site) -> None:
    topic = site.folder.name.replace("_", "-")
    site.settings |= {"queue_url": kafka.url, "topic": topic, "partitions": "6"}
    site.start("ingest", "ingest")
    site.wait("the ingest", lambda: site.is_ready() and site.has_its_queue())
    answers = call(site, 0)
    kafka.delete(topic)
    answers += call(site, 1)
    site.wait("the loss", lambda: "there is no topic" in site.parts().get("queue", ""))
    with AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0}) as admin:
        admin.create_topics([NewTopic(topic, 4)])[topic].result(30)
    answers += call(site, 2)
    site.wait("the reason", lambda: "has 4 partitions, not 6" in site.parts().get("queue", ""))
    answers += call(site, 3)
    spooled = site.run("spool", "status")
    kafka.delete(topic)
    made = site.run("topics", "ensure")
    site.wait("an empty spool", lambda: site.parts().get("spool") == "ok" and site.has_its_queue())
    answers += call(site, 4)

    tail = site.run("tail", "--from", "earliest", "--count", str(4 * len(PORTALS)), "--json")
    rows = [json.loads(line) for line in tail.stdout.splitlines()]
    assert answers == [200] * 5 * len(PORTALS)
    assert made.returncode == 0, made.stderr
    assert "24" in spooled.stdout, spooled.stdout
    for portal in PORTALS:
        found = [(row["partition"], row["data"]["FIELDS"]["ID"]) for row in rows if row["portal"] == portal]
        assert [number for _, number in found] == list("1234")
        assert len({partition for partition, _ in found}) == 1
    assert site.stop("ingest") == 0
