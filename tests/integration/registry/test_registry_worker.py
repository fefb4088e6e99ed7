"""A worker reads both encodings, learns the ids that it meets, and gives nothing up while the registry is silent."""

import json
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from forebay.schemas import names
from forebay.schemas.versions import schema_texts
from tests.registry.fake import FakeRegistry
from tests.registry.fixtures import AnyRegistry
from tests.registry.site import PORTAL, TOPIC, Site, numbered, plain
from tests.waiting import until

SUBJECT = f"{TOPIC}-value"
OURS = schema_texts()[-1]
OTHERS = '{"type": "record", "name": "Invoice", "fields": []}'


def _bare(found: dict[str, object]) -> dict[str, object]:
    return {name: found[name] for name in reversed(found) if name not in ("doc", "logicalType")}


#: The same to a reader: other formatting, keys in another order, no docs and no logical types.
REWRITTEN = json.dumps(json.loads(OURS, object_hook=_bare), separators=(",", ":"))


def registered(registry: AnyRegistry, schema: str, subject: str = SUBJECT) -> int:
    with SchemaRegistryClient({"url": registry.url}) as client:
        return int(client.register_schema(subject, Schema(schema, "AVRO")))


def said(record: Any, name: str) -> str:
    return bytes(dict(record.headers)[name]).decode()


async def test_both_encodings_mixed_in_a_partition_are_handled_in_order(site: Site) -> None:
    schema_id = registered(site.registry, OURS)
    for number in range(100):
        await site.send(numbered(schema_id, number) if number % 3 else plain(number))
    site.worker()

    await until(lambda: len(site.handled) == 100)

    assert site.handled == [(PORTAL, number) for number in range(100)]
    assert site.dead() == []


async def test_what_kafka_s_own_serializer_writes_with_our_schema_is_handled(site: Site) -> None:
    sent = {
        "id": "0192f0c4-1111-7222-8333-444455556666",
        "portal": PORTAL,
        "member_id": None,
        "kind": "event",
        "name": "ONCRMDEALADD",
        "occurred_at": None,
        "received_at": 1_764_073_800_000_000,
        "source": "online",
        "subscription": {"id": None, "endpoint": "/bitrix24", "verified": True},
        "path": "",
        "query": "",
        "traceparent": None,
        "sealed": None,
        "as_sent": None,
        "fields": {"event": "ONCRMDEALADD", "data[FIELDS][ID]": "7"},
    }
    with SchemaRegistryClient({"url": site.registry.url}) as client:
        value = AvroSerializer(client, REWRITTEN)(sent, SerializationContext(TOPIC, MessageField.VALUE))
    await site.send(value)
    site.worker()

    await until(lambda: site.handled == [(PORTAL, 7)])

    assert value[:1] == b"\0"


async def test_our_schema_is_known_whatever_its_formatting_docs_and_order_of_keys(site: Site) -> None:
    first, second = registered(site.registry, OURS), registered(site.registry, REWRITTEN, "elsewhere-value")
    await site.send(numbered(first, 1))
    await site.send(numbered(second, 2))
    site.worker()

    await until(lambda: len(site.handled) == 2)

    assert first != second
    assert site.handled == [(PORTAL, 1), (PORTAL, 2)]


async def test_a_schema_of_somebody_else_is_a_dead_letter_and_the_portal_goes_on(site: Site) -> None:
    foreign, ours = registered(site.registry, OTHERS, "invoices-value"), registered(site.registry, OURS)
    value = numbered(foreign, 1)
    await site.send(value)
    await site.send(numbered(ours, 2))
    site.worker()

    await until(lambda: site.handled == [(PORTAL, 2)])

    (letter,) = site.dead()
    assert letter.value == value
    assert said(letter, names.DEAD_ATTEMPTS) == "0"
    assert str(foreign) in said(letter, names.DEAD_ERROR)


async def test_an_id_that_the_registry_does_not_have_is_a_dead_letter_in_the_end(site: Site) -> None:
    await site.send(numbered(1_000_000, 1))
    await site.send(plain(2))
    site.worker()

    await until(lambda: site.handled == [(PORTAL, 2)])

    (letter,) = site.dead()
    assert "knows no schema" in said(letter, names.DEAD_ERROR)


async def test_while_the_registry_is_silent_the_portal_waits_without_a_try_and_the_others_go_on(site: Site) -> None:
    schema_id = registered(site.registry, OURS)
    site.registry.down()
    await site.send(numbered(schema_id, 1))
    await site.send(plain(2))
    for number in range(5):
        await site.send(plain(number, "two.bitrix24.example"), "two.bitrix24.example")
    worker = site.worker(tries=1, concurrency=2)
    await until(lambda: worker.health.status == "degraded" and len(site.handled) == 5)
    before = [*site.handled]
    part = worker.health.report()["parts"]
    site.registry.up()
    await until(lambda: len(site.handled) == 7)
    await until(lambda: worker.health.status == "ok")

    assert {portal for portal, _ in before} == {"two.bitrix24.example"}
    assert "schema_registry" in str(part)
    assert [number for portal, number in site.handled if portal == PORTAL] == [1, 2]
    assert site.dead() == []


async def test_once_the_ids_are_known_the_registry_may_go(site: Site) -> None:
    schema_id = registered(site.registry, OURS)
    worker = site.worker()
    await until(lambda: worker.health.report()["parts"].get("schema_registry", {}).get("state") == "ok")  # type: ignore[attr-defined]  # a report is JSON
    site.registry.down()
    for number in range(10):
        await site.send(numbered(schema_id, number))

    await until(lambda: len(site.handled) == 10)

    assert worker.health.status == "ok"


async def test_many_portals_ask_for_an_id_once(fake: FakeRegistry, fake_site: Site) -> None:
    schema_id = registered(fake, OURS, "elsewhere-value")
    portals = [f"p{number}.bitrix24.example" for number in range(200)]
    for portal in portals:
        await fake_site.send(numbered(schema_id, 1, portal), portal)
    fake_site.worker()

    await until(lambda: len(fake_site.handled) == 200)

    assert fake.asked.count(f"GET /schemas/ids/{schema_id}") == 1


async def test_a_registry_that_hangs_holds_no_slot(fake: FakeRegistry, fake_site: Site) -> None:
    schema_id = registered(fake, OURS, "elsewhere-value")
    fake.hang()
    for number in range(20):
        portal = f"p{number}.bitrix24.example"
        await fake_site.send(numbered(schema_id, number, portal), portal)
    await fake_site.send(plain(99))
    fake_site.worker(concurrency=2, schema_registry={"timeout": 3600})

    await until(lambda: fake_site.handled == [(PORTAL, 99)])
    fake.wake()

    await until(lambda: len(fake_site.handled) == 21)


async def test_a_registry_without_rights_makes_records_wait_and_no_dead_letters(
    fake: FakeRegistry, fake_site: Site
) -> None:
    schema_id = registered(fake, OURS, "elsewhere-value")
    fake.answer = (401, {"error_code": 401, "message": "Unauthorized"})
    await fake_site.send(numbered(schema_id, 1))
    worker = fake_site.worker()
    await until(lambda: "basic.auth.user.info" in str(worker.health.report()))
    fake.answer = None

    await until(lambda: fake_site.handled == [(PORTAL, 1)])

    assert fake_site.dead() == []


async def test_without_the_setting_such_a_record_is_a_dead_letter_that_names_it(fake_site: Site) -> None:
    await fake_site.send(numbered(7, 1))
    fake_site.worker(has_registry=False)

    await until(lambda: len(fake_site.dead()) == 1)

    assert "schema_registry_url" in said(fake_site.dead()[0], names.DEAD_ERROR)


@pytest.mark.parametrize("value", [b"\0", b"\0\0\0\0\1", b"\0\xff\xff\xff\xff" + b"x" * 50])
async def test_what_can_be_no_record_with_an_id_is_given_up_without_a_question(
    fake: FakeRegistry, fake_site: Site, value: bytes
) -> None:
    await fake_site.send(value)
    fake_site.worker()

    await until(lambda: len(fake_site.dead()) == 1)

    assert not [asked for asked in fake.asked if "/schemas/" in asked]


async def test_a_worker_stops_while_its_records_wait_for_a_registry_that_hangs(
    fake: FakeRegistry, fake_site: Site
) -> None:
    fake.hang()
    await fake_site.send(numbered(7, 1))
    worker = fake_site.worker(schema_registry={"timeout": 3600})
    await until(lambda: worker._held.records == 1)

    await fake_site.stop()

    assert fake_site.dead() == []
