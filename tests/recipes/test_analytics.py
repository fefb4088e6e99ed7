"""The recipes of docs/analytics.md: killed anywhere, each event is in its minute once; columns as in the record."""

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AclOperation,
    AdminClient,
    NewTopic,
    ResourceType,
)
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from forebay import PortalEvent
from forebay.processors.testing import event
from forebay.schemas import names
from forebay.schemas.codec import codec, new_codec
from forebay.schemas.versions import schema_texts
from tests.kafka.fixtures import Kafka
from tests.kafka.secured import PASSWORDS, Secured
from tests.kafka.ways_in import ways_in
from tests.registry.fake import FakeRegistry

from .analytics_recipe import DOCS, recipe_on

ROOT = Path(__file__).parents[2]
PAGE = (DOCS / "analytics.md").read_text("utf-8")
PARTITIONS = 3
PORTALS = [f"{name}.bitrix24.example" for name in ("one", "two", "three", "four", "five")]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OPEN = timedelta(hours=1)


class Topic:
    """A topic of the test's own, into which it writes as an ingest does."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap, self.name = bootstrap, f"events-{uuid4().hex}"
        with AdminClient({"bootstrap.servers": bootstrap}) as admin:
            admin.create_topics([NewTopic(self.name, PARTITIONS, 1)])[self.name].result(30)
        self._producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "log_level": 0})
        self.sent = 0

    def send(self, made: PortalEvent, value: bytes | None = None) -> None:
        at_ms = int(made.received_at.timestamp() * 1000)
        self._producer.produce(self.name, value or codec().encode(made), made.portal, timestamp=at_ms)
        self.sent += 1

    def flush(self) -> None:
        assert self._producer.flush(30) == 0


@pytest.fixture
def topic(kafka: Kafka) -> Topic:
    return Topic(kafka.bootstrap)


@pytest.fixture
def recipe(topic: Topic, tmp_path: Path) -> Any:
    return recipe_on(topic.bootstrap, topic.name, tmp_path / "analytics.db")


def happened(
    portal: str, after: timedelta, received: timedelta | None = None, name: str = "ONCRMDEALADD"
) -> PortalEvent:
    """An event of that long after noon, received then or later."""
    at = NOON + after
    return event(
        name, data={"FIELDS": {"ID": 7}}, portal=portal, occurred_at=at, received_at=NOON + (received or after)
    )


def count_all(recipe: Any, topic: Topic) -> None:
    """Count until everything that was sent has been read."""
    topic.flush()
    with closing(recipe.opened()) as connection, closing(recipe.consumer()) as reading:
        reading.assign(recipe.places(connection, reading))
        while progress(recipe) < topic.sent:
            recipe.count(connection, reading.consume(recipe.BATCH, timeout=1))


def progress(recipe: Any) -> int:
    """So many records are done with."""
    [(done,)] = rows(recipe, "SELECT sum(max(next, 0)) FROM place")
    return int(done or 0)


def rows(recipe: Any, query: str) -> list[Any]:
    with closing(sqlite3.connect(recipe.DATABASE)) as connection:
        return connection.execute(query).fetchall()


def counted(recipe: Any) -> dict[tuple[str, str, str], int]:
    """By minute, portal and type."""
    what = "SELECT strftime('%H:%M', minute, 'unixepoch'), portal, type, events FROM counted"
    return {(minute, portal, name): events for minute, portal, name, events in rows(recipe, what)}


def victim(recipe: Any, topic: Topic, dies_at: int) -> "subprocess.CompletedProcess[str]":
    given = [topic.bootstrap, topic.name, recipe.DATABASE, str(dies_at)]
    command = [sys.executable, "-m", "tests.recipes.analytics_killed", *given]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_killed_again_and_again_each_event_is_in_its_minute_once(recipe: Any, topic: Topic) -> None:
    drawn, expected = random.Random(7), Counter[tuple[str, str, str]]()
    sent: list[PortalEvent] = []
    for second in range(300):
        made = happened(
            drawn.choice(PORTALS), timedelta(seconds=second), name=drawn.choice(["ONCRMDEALADD", "ONAPPTEST"])
        )
        sent.append(made)
        topic.send(made)
        expected[f"12:0{second // 60}", made.portal, f"event.{made.name}"] += 1
        if drawn.random() < 0.3:
            topic.send(drawn.choice(sent))
    topic.flush()

    places = []
    # One statement or two further each time, so that all of a record's steps are met, and the transaction's end.
    for dies_at in range(70, 86):
        died = victim(recipe, topic, dies_at)
        assert died.returncode == -signal.SIGKILL, died.stderr
        places.append(progress(recipe))
    count_all(recipe, topic)

    assert places == sorted(places)
    assert 0 < places[-1] < topic.sent
    assert counted(recipe) == expected


@pytest.mark.kafka
def test_two_at_once_count_no_record_twice_nor_a_late_one(recipe: Any, topic: Topic) -> None:
    portal = PORTALS[0]
    topic.send(happened(portal, 2 * OPEN))
    for second in range(50):
        topic.send(happened(portal, 2 * OPEN + timedelta(seconds=second)))
        topic.send(happened(portal, timedelta(seconds=second)))
    topic.flush()

    with ExitStack() as opened:
        both = [opened.enter_context(closing(recipe.opened())) for _ in range(2)]
        readers = [opened.enter_context(closing(recipe.consumer())) for _ in both]
        for connection, reader in zip(both, readers, strict=True):
            reader.assign(recipe.places(connection, reader))
        while progress(recipe) < topic.sent:
            for connection, reader, batch in zip(both, readers, (20, 30), strict=True):
                recipe.count(connection, reader.consume(batch, timeout=1))

    assert rows(recipe, "SELECT minute % 86400 / 3600, events, late FROM counted") == [(12, 0, 50), (14, 51, 0)]


@pytest.mark.kafka
def test_a_minute_is_finished_an_hour_later_and_what_comes_then_is_counted_as_late(recipe: Any, topic: Topic) -> None:
    portal = PORTALS[0]
    first = happened(portal, timedelta(seconds=5))
    topic.send(first)
    topic.send(happened(portal, timedelta(seconds=6), received=OPEN))
    count_all(recipe, topic)
    before = rows(recipe, "SELECT * FROM finished")
    topic.send(happened(portal, OPEN + timedelta(minutes=1)))
    topic.send(happened(portal, timedelta(seconds=7), received=timedelta(minutes=1)))
    topic.send(first)
    count_all(recipe, topic)

    assert before == []
    assert rows(recipe, "SELECT * FROM finished") == [("2026-03-01 12:00:00", portal, "event.ONCRMDEALADD", 1, 2, 2)]
    assert rows(recipe, "SELECT minute % 3600 FROM seen") == [(60,)]


@pytest.mark.kafka
def test_a_clock_that_is_ahead_and_what_can_not_be_read_are_counted_when_they_came(recipe: Any, topic: Topic) -> None:
    topic.send(replace(happened(PORTALS[0], timedelta(days=900, hours=5)), received_at=NOON))
    topic.send(replace(happened(PORTALS[1], timedelta()), occurred_at=None, source="forebay", name="ONFOREBAYGAP"))
    topic.send(happened(PORTALS[2], timedelta()), b"no event")
    count_all(recipe, topic)

    assert counted(recipe) == {
        ("12:00", PORTALS[0], "event.ONCRMDEALADD"): 1,
        ("12:00", PORTALS[1], "forebay.ONFOREBAYGAP"): 1,
        ("12:00", PORTALS[2], "undecodable"): 1,
    }


@pytest.mark.kafka
def test_events_written_with_a_schema_registry_are_read_among_others(recipe: Any, topic: Topic) -> None:
    with FakeRegistry() as registry, SchemaRegistryClient({"url": registry.url}) as client:
        writer = new_codec()
        writer.write_with(client.register_schema(f"{topic.name}-value", Schema(schema_texts()[-1], "AVRO")))
        made = happened(PORTALS[0], timedelta())
        topic.send(made, writer.encode(made))
        topic.send(happened(PORTALS[0], timedelta()))
        with pytest.raises(SystemExit, match="ANALYTICS_REGISTRY"):
            count_all(recipe, topic)
        before = progress(recipe), counted(recipe)
        recipe.REGISTRY = registry.url
        count_all(recipe, topic)

    assert before == (0, {})
    assert counted(recipe) == {("12:00", PORTALS[0], "event.ONCRMDEALADD"): 2}


@pytest.mark.kafka
def test_a_place_that_retention_took_ends_it(recipe: Any, topic: Topic) -> None:
    topic.flush()
    with closing(recipe.opened()) as connection, closing(recipe.consumer()) as reading:
        recipe.places(connection, reading)
        connection.execute("UPDATE place SET next = 1000")
        connection.commit()
        reading.assign(recipe.places(connection, reading))
        with pytest.raises(KafkaException, match="offset"):
            recipe.count(connection, reading.consume(1, timeout=30))


@pytest.mark.kafka
def test_the_rights_of_the_page_are_enough(secured: Secured, tmp_path: Path) -> None:
    topic = Topic(secured.clear)
    way = ways_in(secured)["scram over tls"].but(sasl_username="carol", sasl_password=PASSWORDS["carol"])
    secured.allow("carol", ResourceType.TOPIC, topic.name, AclOperation.READ)
    secured.allow("carol", ResourceType.GROUP, "counts", AclOperation.READ)
    recipe = recipe_on(way.bootstrap, topic.name, tmp_path / "analytics.db")
    recipe.KAFKA |= way.kafka
    topic.send(happened(PORTALS[0], timedelta()))
    count_all(recipe, topic)

    assert sum(counted(recipe).values()) == 1


#: Avro → Flink SQL, as its format avro-confluent has them; a time as its number, which needs no logical type.
TYPES = {"string": "STRING", "long": "BIGINT", "boolean": "BOOLEAN"}


def in_sql(avro: Any) -> str:
    """The type of Flink SQL that is the schema's."""
    if isinstance(avro, list):
        [some] = [one for one in avro if one != "null"]
        return in_sql(some).removesuffix(" NOT NULL")
    if isinstance(avro, str):
        return f"{TYPES[avro]} NOT NULL"
    if avro["type"] == "map":
        return f"MAP<STRING NOT NULL, {in_sql(avro['values'])}> NOT NULL"
    if avro["type"] == "record":
        inner = [f"{one['name']} {in_sql(one['type'])}" for one in avro["fields"]]
        return f"ROW<{', '.join(inner)}> NOT NULL"
    return in_sql(avro["type"])


def columns() -> Iterator[tuple[str, str]]:
    """Name and type of each column of the page's first table that stands in the record."""
    [table] = re.findall(r"^CREATE TABLE events \(\n(.*?)^\) WITH", PAGE, re.M | re.S)
    for line in table.splitlines():
        name, _, of = line.strip().removesuffix(",").partition(" ")
        if not of.startswith(("AS ", "FOR ")):
            yield name, of


def test_the_table_has_the_columns_of_the_schema() -> None:
    fields = {field["name"]: field["type"] for field in json.loads(schema_texts()[-1])["fields"]}
    shown = dict(columns())

    assert {"id", "portal", "name", "occurred_at", "received_at", "subscription", "fields"} <= shown.keys()
    assert shown == {name: in_sql(fields[name]) for name in shown}


def test_the_headers_in_the_page_are_those_of_a_record() -> None:
    told = set(re.findall(r"\bce_\w+|\bforebay_pin\b", PAGE))

    assert told <= {names.CE_ID, names.CE_SOURCE, names.CE_SUBJECT, names.CE_TIME, names.CE_TYPE, names.PIN}
