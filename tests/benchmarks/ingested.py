"""Records as the ingest writes them, for topics on which readers are measured."""

import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from confluent_kafka import Producer

from forebay.ingest.address import address_of
from forebay.ingest.authenticate import Sender
from forebay.ingest.call import recognise
from forebay.ingest.form import parse
from forebay.ingest.record import received, record_of
from forebay.ingest.seal import divide
from forebay.queues.contract import Record
from forebay.schemas.codec import codec

FORM = (Path(__file__).parents[1] / "data" / "bitrix24" / "04_app_oncrmdealupdate_user.txt").read_text().strip()
#: With these there are sixteen pairs that are not secret, and 650 bytes of Avro. The data stands where it always does.
MORE = "&data[FIELDS][STAGE_ID]=C2:NEW&data[FIELDS][ENTITY_TYPE_ID]=2&data[USER][ID]=1&ts="

PROPERTIES: dict[str, str | int | bool] = {
    "acks": "all",
    "partitioner": "murmur2_random",
    "compression.type": "lz4",
    # As the ingest writes it.
    "batch.size": 60_000,
    "queue.buffering.max.messages": 1_000_000,
}
FLUSH_S = 60.0


def ingested(portal: int) -> Record:
    """The record of an event that the portal of this number sends now."""
    domain, now_ns = f"portal-{portal}.bitrix24.example", time.time_ns()
    sent = FORM.replace("some-domain.bitrix24.ru", domain).replace("&ts=", MORE)
    form = parse(sent.encode(), max_fields=100)
    body, _ = divide(form)
    receipt = received(now_ns, "/bitrix24")
    sender = Sender(portal=domain, member_id=f"{portal:032x}", verified=True, address=address_of("", b""))
    return record_of(receipt, sender, domain, recognise(form.fields), body, None, codec())


def fill(bootstrap: str, topic: str, portals: Iterable[int]) -> None:
    """An event of each of these portals, in this order. Those of one portal differ in nothing."""
    _send(bootstrap, topic, map(cache(ingested), portals), linger_ms=20)


def pace(bootstrap: str, topic: str, portals: Iterable[int], rate: float, clock: Callable[[], float]) -> None:
    """The same, so many a second, each of them made when it is due."""

    def due() -> Iterable[Record]:
        first = clock()
        for number, portal in enumerate(portals):
            time.sleep(max(0.0, first + number / rate - clock()))
            yield ingested(portal)

    _send(bootstrap, topic, due(), linger_ms=0)


def _send(bootstrap: str, topic: str, records: Iterable[Record], *, linger_ms: int) -> None:
    producer = Producer({**PROPERTIES, "linger.ms": linger_ms, "bootstrap.servers": bootstrap})
    for record in records:
        headers: list[tuple[str, str | bytes | None]] = list(record.headers)
        producer.produce(topic, record.value, record.key, headers=headers, timestamp=record.timestamp_ms)
        producer.poll(0)
    assert producer.flush(FLUSH_S) == 0
