"""What the worker is measured against: `plain_readers.py HOW BOOTSTRAP TOPIC RECORDS` reads a topic and does little.

`bare` only takes the messages, `eager` decodes each as far as it goes, one after the other. Prints the seconds and the
CPU seconds from the first on.
"""

import json
import sys
import time
from collections.abc import Callable
from io import BytesIO

from confluent_kafka import Consumer, Message
from fastavro import parse_schema, schemaless_reader

from forebay.schemas.versions import schema_texts

#: Without the logical types, for which fastavro would need twice the time.
SCHEMA = parse_schema(
    json.loads(schema_texts()[-1], object_hook=lambda found: {k: v for k, v in found.items() if k != "logicalType"})
)
PREFIX_BYTES = 10

#: As the worker's consumer has them.
PROPERTIES: dict[str, str | int | bool] = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "group.protocol": "consumer",
    "fetch.queue.backoff.ms": 20,
    "fetch.wait.max.ms": 250,
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 16_384,
}
BATCH = 500


def ignore(messages: list[Message]) -> None:
    """Nothing at all."""


def decode(messages: list[Message]) -> None:
    """Each record whole, by Avro's usual library and at once, to plain values."""
    for message in messages:
        source = BytesIO(message.value() or b"")
        source.seek(PREFIX_BYTES)
        assert schemaless_reader(source, SCHEMA, None)


def read(bootstrap: str, topic: str, records: int, each: Callable[[list[Message]], None]) -> None:
    """So many records."""
    client = Consumer({**PROPERTIES, "bootstrap.servers": bootstrap, "group.id": f"plain-{time.time_ns()}"})
    client.subscribe([topic])
    messages = client.consume(1, 60.0)
    wall, cpu = time.perf_counter(), time.process_time()
    while records > 0:
        each(messages)
        records -= len(messages)
        messages = client.consume(BATCH, 0.1) if records > 0 else []
    print(time.perf_counter() - wall, time.process_time() - cpu)
    client.close()


def main(how: str, bootstrap: str, topic: str, records: str) -> None:
    """Run to the end."""
    read(bootstrap, topic, int(records), {"bare": ignore, "eager": decode}[how])


if __name__ == "__main__":
    main(*sys.argv[1:])
