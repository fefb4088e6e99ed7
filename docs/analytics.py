"""Counts the events of each portal and type by the minute in which they happened, each once, whatever dies."""

import json
import os
import sqlite3
from contextlib import closing
from urllib.request import urlopen

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from forebay.schemas.codec import new_codec
from forebay.schemas.errors import UndecodableEvent

TOPIC = os.environ.get("ANALYTICS_TOPIC", "bitrix24.events")
DATABASE = os.environ.get("ANALYTICS_DATABASE", "analytics.db")

#: librdkafka's properties, as JSON: the brokers, and how to log in there.
KAFKA = json.loads(os.environ.get("ANALYTICS_KAFKA", '{"bootstrap.servers": "127.0.0.1:9092"}'))

#: As Forebay's setting schema_registry_url, where that is set.
REGISTRY = os.environ.get("ANALYTICS_REGISTRY")

#: For so long a minute takes events, and their ids are known. It passes with the receipts, and not by this clock.
OPEN_S = int(os.environ.get("ANALYTICS_OPEN_S", "3600"))

#: So many records are one transaction.
BATCH = 1000

TABLES = """
CREATE TABLE IF NOT EXISTS place (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL, open_from INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS seen (
    partition INTEGER, minute INTEGER, id TEXT, PRIMARY KEY (partition, minute, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counted (
    minute INTEGER, portal TEXT, type TEXT, verified INTEGER, partition INTEGER NOT NULL,
    events INTEGER NOT NULL, late INTEGER NOT NULL, PRIMARY KEY (minute, portal, type, verified)
) WITHOUT ROWID;
CREATE VIEW IF NOT EXISTS finished AS
    SELECT datetime(minute, 'unixepoch') AS utc, portal, type, verified, events, late
    FROM counted JOIN place USING (partition) WHERE minute < open_from;
"""

codec = new_codec()


def opened():
    """The database, with its tables."""
    connection = sqlite3.connect(DATABASE, isolation_level="IMMEDIATE", timeout=60)
    connection.executescript(TABLES)
    return connection


def places(connection, consumer):
    """Where to read on in each partition: behind what is counted, and at first from the oldest record that is kept."""
    partitions = consumer.list_topics(TOPIC, timeout=30).topics[TOPIC].partitions
    with connection:
        known = [(partition, OFFSET_BEGINNING, 0) for partition in partitions]
        connection.executemany("INSERT OR IGNORE INTO place VALUES (?, ?, ?)", known)
    return [TopicPartition(TOPIC, *row) for row in connection.execute("SELECT partition, next FROM place")]


def count(connection, messages):
    """Count these records, all or none: counts, ids and places are one transaction."""
    with connection:
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            count_one(connection, message)
        forget = "DELETE FROM seen WHERE partition = ? AND minute < (SELECT open_from FROM place WHERE partition = ?)"
        for partition in {message.partition() for message in messages}:
            connection.execute(forget, (partition, partition))


def count_one(connection, message):
    partition, offset, received = message.partition(), message.offset(), message.timestamp()[1] // 1000
    on = """UPDATE place SET next = ?, open_from = max(open_from, ?)
            WHERE partition = ? AND next <= ? RETURNING open_from"""
    [*moved] = connection.execute(on, (offset + 1, minute_of(received - OPEN_S), partition, offset))
    if not moved:
        return  # Another process that runs beside this one has counted it.
    [(open_from,)] = moved
    event_id, happened, *what = described(message, received)
    minute = minute_of(min(happened, received))
    new = "INSERT OR IGNORE INTO seen VALUES (?, ?, ?)"
    if minute < open_from:
        add(connection, minute, what, partition, late=1)
    elif connection.execute(new, (partition, minute, event_id)).rowcount:
        add(connection, minute, what, partition, events=1)


def described(message, received):
    """Id, time, portal, type, and whether the portal is proved. What can't be read is counted too, under its key."""
    try:
        event = decoded(message.value() or b"")
        happened = event.occurred_at or event.received_at
        event_type = f"{event.kind}.{event.name}" if event.source == "online" else f"forebay.{event.name}"
        return event.id, int(happened.timestamp()), event.portal, event_type, event.subscription.verified
    except UndecodableEvent:
        key = (message.key() or b"").decode("utf-8", "replace")
        return f"offset {message.offset()}", received, key, "undecodable", False


def decoded(value):
    """The event, in either encoding: Forebay's own, or Confluent's with an id of the schema registry."""
    schema_id = codec.unknown_id(value)
    if schema_id is not None:
        if not REGISTRY:
            raise SystemExit(f"a record was written with schema {schema_id} of a registry: set ANALYTICS_REGISTRY")
        with urlopen(f"{REGISTRY}/schemas/ids/{schema_id}", timeout=30) as answer:
            codec.learn(schema_id, json.load(answer)["schema"])
    return codec.decode(value)


def add(connection, minute, what, partition, events=0, late=0):
    more = """INSERT INTO counted VALUES (?, ?, ?, ?, ?, ?, ?)
              ON CONFLICT DO UPDATE SET events = events + excluded.events, late = late + excluded.late"""
    connection.execute(more, (minute, *what, partition, events, late))


def minute_of(seconds):
    return seconds // 60 * 60


def consumer():
    """Joins no group and commits nothing there: the places stand beside the counts."""
    ours = {"group.id": "counts", "enable.auto.commit": False, "auto.offset.reset": "error"}
    return Consumer({**KAFKA, **ours})


def main():
    with closing(opened()) as connection, closing(consumer()) as reading:
        reading.assign(places(connection, reading))
        while True:
            count(connection, reading.consume(BATCH, timeout=1))


if __name__ == "__main__":
    main()
