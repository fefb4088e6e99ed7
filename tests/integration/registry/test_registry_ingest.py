"""What the ingest writes with a schema registry, and that nothing of it makes an event wait."""

from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from structlog.testing import capture_logs

from forebay.queues.registry.opening import open_registry
from forebay.queues.settings import QueueSettings
from tests.registry.fake import FakeRegistry
from tests.registry.site import PORTAL, TOPIC, Site, until_said
from tests.waiting import until

SUBJECT = f"{TOPIC}-value"
MAGIC = b"\x00"
SINGLE_OBJECT = b"\xc3\x01"


async def test_events_carry_the_schema_s_id_and_kafka_s_own_deserializer_reads_them(site: Site) -> None:
    async with site.ingest() as gate:
        await until_said(lambda: gate.is_ready("ok"))
        await gate.post(7)

    (record,) = site.records()
    with SchemaRegistryClient({"url": site.registry.url}) as client:
        registered = client.get_latest_version(SUBJECT)
        read = AvroDeserializer(client)(record.value, SerializationContext(TOPIC, MessageField.VALUE))
    assert record.value[:5] == MAGIC + int(registered.schema_id or 0).to_bytes(4)
    assert read["portal"] == PORTAL
    assert read["name"] == "ONCRMDEALADD"
    assert read["fields"]["data[FIELDS][ID]"] == "7"
    assert read["received_at"].tzinfo is not None


async def test_while_the_registry_is_down_events_are_taken_without_the_id_and_then_with_it(site: Site) -> None:
    site.registry.down()
    async with site.ingest() as gate:
        await until_said(lambda: gate.says("schema_registry_url"))
        await gate.post(1)
        status, report = await gate.ready()
        site.registry.up()
        await until_said(lambda: gate.is_ready("ok"))
        await gate.post(2)

    assert status == 200
    assert report["parts"]["queue"] == "ok"
    assert report["status"] == "degraded"
    assert [record.value[:1] for record in site.records()] == [SINGLE_OBJECT[:1], MAGIC]


async def test_an_id_once_learnt_stays_when_the_registry_goes(site: Site) -> None:
    async with site.ingest() as gate:
        await until_said(lambda: gate.is_ready("ok"))
        site.registry.down()
        await gate.post(1)
        status, report = await gate.ready()

    assert (status, report["status"]) == (200, "ok")
    assert site.records()[0].value[:1] == MAGIC


async def test_a_restart_without_the_registry_loses_nothing(site: Site) -> None:
    async with site.ingest() as gate:
        await until_said(lambda: gate.is_ready("ok"))
        await gate.post(1)
    worker = site.worker()
    await until(lambda: worker.health.report()["status"] == "ok" and len(site.handled) == 1)
    site.registry.down()
    async with site.ingest() as gate:
        await gate.post(2)
        await gate.post(3)
        await until(lambda: len(site.handled) == 3)

    assert site.handled == [(PORTAL, 1), (PORTAL, 2), (PORTAL, 3)]
    assert [record.value[:1] for record in site.records()] == [MAGIC, b"\xc3", b"\xc3"]


async def test_a_subject_that_refuses_the_schema_is_an_error_with_a_remedy_and_costs_no_event(site: Site) -> None:
    with SchemaRegistryClient({"url": site.registry.url}) as client:
        client.register_schema(SUBJECT, Schema('{"type": "record", "name": "Invoice", "fields": []}', "AVRO"))
        client.set_compatibility(SUBJECT, "BACKWARD")
    with capture_logs() as logs:
        async with site.ingest() as gate:
            await until(lambda: [log for log in logs if "not registered" in log["event"]])
            await gate.post(1)
            status, report = await gate.ready()

    told = next(log for log in logs if "not registered" in log["event"])
    assert told["log_level"] == "error"
    assert "set another topic" in told["error"]
    assert (status, report["status"]) == (200, "degraded")
    assert site.records()[0].value[:2] == SINGLE_OBJECT


@pytest.mark.parametrize("status", [401, 403, 422, 500])
async def test_a_registry_that_refuses_is_asked_again_until_it_takes_the_schema(
    status: int, fake: FakeRegistry, fake_site: Site
) -> None:
    fake.answer = (status, {"error_code": status, "message": "no"})
    async with fake_site.ingest() as gate:
        await until_said(lambda: gate.says(f"answers {status}"))
        await gate.post(1)
        fake.answer = None
        await until_said(lambda: gate.is_ready("ok"))
        await gate.post(2)

    assert [record.value[:1] for record in fake_site.records()] == [SINGLE_OBJECT[:1], MAGIC]


async def test_a_schema_that_is_there_already_needs_no_right_to_write(fake: FakeRegistry, fake_site: Site) -> None:
    async with fake_site.ingest() as gate:
        await until_said(lambda: gate.is_ready("ok"))
    before = len(fake.asked)
    async with fake_site.ingest() as gate:
        await until_said(lambda: gate.is_ready("ok"))

    assert fake.asked[before:] == [f"POST /subjects/{SUBJECT}"]


async def test_without_the_setting_nothing_of_the_registry_is_there(site: Site, tmp_path: Path) -> None:
    async with site.ingest(schema_registry_url=None) as gate:
        await gate.post(1)
        _, report = await gate.ready()

    assert "schema_registry" not in report["parts"]
    assert site.records()[0].value[:2] == SINGLE_OBJECT
    assert open_registry(QueueSettings(data_dir=tmp_path)) is None
