"""The commands over a queue whose records need the schema registry, and what the doctor says of it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from typer.testing import CliRunner

from forebay.console.cli import build
from forebay.console.decoding import LearningInspector, decodable
from forebay.console.traffic.send_audit import Audit, check
from forebay.processors.testing import event
from forebay.queues.contract import Record
from forebay.queues.memory import MemoryQueue
from forebay.queues.opening import open_queue
from forebay.queues.registry.teacher import Teacher
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.codec import codec, new_codec
from forebay.schemas.versions import schema_texts
from tests.registry.fake import FakeRegistry
from tests.registry.fixtures import AnyRegistry
from tests.registry.site import PORTAL, TOPIC, asking, given, numbered, plain

SUBJECT = f"{TOPIC}-value"
OURS = schema_texts()[-1]


class Command:
    """`forebay` in this process, over the data of a folder and a registry."""

    def __init__(self, folder: Path, registry: AnyRegistry) -> None:
        self.folder, self.environ = folder, {"FOREBAY_SCHEMA_REGISTRY_URL": registry.url}

    def run(self, *arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(build(), ["--data-dir", str(self.folder), *arguments], env=self.environ)
        assert done.exit_code == status, (done.output, done.exception)
        return done.stdout

    def rows(self, *arguments: str, status: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*arguments, "--json", status=status).splitlines()]

    def of_registry(self, status: int = 0) -> dict[str, Any]:
        [found] = [row for row in self.rows("doctor", status=status) if row["check"] == "schema registry"]
        return found

    def put(self, stream: str, *records: Record) -> None:
        asyncio.run(self._put(stream, records))

    async def _put(self, stream: str, records: tuple[Record, ...]) -> None:
        settings = QueueSettings(data_dir=self.folder)
        queue = open_queue(settings)
        await queue.ensure(names.streams(TOPIC), settings.partitions)
        producer = queue.producer()
        for record in records:
            await producer.send(stream, record)
        await producer.close()
        await queue.close()


@pytest.fixture
def forebay(tmp_path: Path, registry: AnyRegistry, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path / "data", registry)


def registered(registry: AnyRegistry, schema: str = OURS) -> int:
    with SchemaRegistryClient({"url": registry.url}) as client:
        return int(client.register_schema(SUBJECT, Schema(schema, "AVRO")))


def a_record(value: bytes, number: int = 0, headers: tuple[tuple[str, bytes], ...] = ()) -> Record:
    return Record(key=PORTAL, value=value, timestamp_ms=1_772_366_400_000 + number, headers=headers)


def test_tail_shows_both_encodings(forebay: Command, registry: AnyRegistry) -> None:
    schema_id = registered(registry)
    forebay.put(TOPIC, a_record(plain(1), 1), a_record(numbered(schema_id, 2), 2), a_record(numbered(99_999, 3), 3))

    shown = forebay.rows("tail", "--from", "earliest", "--count", "3")

    assert [row["data"] and row["data"]["FIELDS"]["ID"] for row in shown] == ["1", "2", None]
    assert "99999" in shown[2]["undecodable"]


def test_dead_letters_with_an_id_are_listed_shown_and_replayed(forebay: Command, registry: AnyRegistry) -> None:
    died = ((names.DEAD_TOPIC, TOPIC.encode()), (names.DEAD_GROUP, b"forebay"), (names.DEAD_ERROR, b"no stock"))
    forebay.put(names.dead(TOPIC), a_record(numbered(registered(registry), 7), headers=died))

    (listed,) = forebay.rows("dead", "list", "--event", "ONCRM*")
    (shown,) = forebay.rows("dead", "show", listed["id"])
    forebay.run("dead", "replay", "--event", "ONCRMDEALADD")
    (ordered,) = forebay.rows("audit")

    assert listed["name"] == "ONCRMDEALADD"
    assert shown["event"]["data"] == {"FIELDS": {"ID": "7"}}
    assert (ordered["portal"], ordered["what"], ordered["records"]) == (PORTAL, "replay", 1)
    assert forebay.rows("dead", "list") == []


def test_a_dead_letter_with_a_broken_body_is_shown_too(forebay: Command) -> None:
    forebay.put(names.dead(TOPIC), a_record(plain(7)[:-20], headers=((names.DEAD_ERROR, b"broken"),)))

    (listed,) = forebay.rows("dead", "list")
    (shown,) = forebay.rows("dead", "show", listed["id"])

    assert shown["event"] is None
    assert shown["error"] == "broken"


def test_without_the_registry_commands_say_so_and_show_the_rest(
    fake: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    forebay = Command(tmp_path / "data", fake)
    fake.down()
    forebay.put(TOPIC, a_record(numbered(7, 1), 1), a_record(plain(2), 2))

    shown = forebay.rows("tail", "--from", "earliest", "--count", "2")

    assert "undecodable" in shown[0]
    assert shown[1]["data"]["FIELDS"]["ID"] == "2"


async def test_a_silent_registry_is_asked_again_only_after_a_while(fake: FakeRegistry) -> None:
    queue, taught, now = MemoryQueue(), new_codec(), [0.0]
    said: list[str] = []
    await queue.ensure([TOPIC], 1)
    schema_id = await asyncio.to_thread(registered, fake)
    for number in range(20):
        await queue.producer().send(TOPIC, a_record(numbered(schema_id, number)))
    fake.answer = (500, {"error_code": 50001, "message": "no"})
    before = len(fake.asked)
    async with asking(fake) as client:
        teacher = Teacher(taught, client, TOPIC)
        inspector = LearningInspector(queue.inspector(), taught, teacher, say=said.append, clock=lambda: now[0])
        await inspector.read(TOPIC, 0, 0, 20)
        asked = len(fake.asked) - before
        fake.answer, now[0] = None, 10.0
        [first, *_] = await inspector.read(TOPIC, 0, 0, 20)

    assert asked == len(said) == 1
    assert taught.decode(first.value).fields["data[FIELDS][ID]"] == "0"


async def test_the_check_of_what_was_sent_reads_ids_and_calls_nothing_lost_that_it_can_not_read(
    fake: FakeRegistry,
) -> None:
    schema_id = await asyncio.to_thread(registered, fake)
    made = event("ONTEST", fields={"data[FIELDS][ID]": "1"}, portal=PORTAL)
    value = b"\0" + schema_id.to_bytes(4, "big") + codec().encode(made)[10:]
    queue = MemoryQueue()
    await queue.ensure([TOPIC], 1)
    await queue.producer().send(TOPIC, a_record(value))
    numbers = {(made.portal, made.member_id): 0}

    async def audited(settings: QueueSettings) -> Audit:
        taught = new_codec()
        audit = Audit(accepted={made.id: (0, 1)}, numbers=numbers, codec=taught)
        async with decodable(settings, queue, taught) as inspector:
            await check(audit, inspector, TOPIC, {}, patience_s=0)
        return audit

    read = await audited(QueueSettings(**given(fake)))
    fake.down()
    unread = await audited(QueueSettings(**given(fake)))

    assert read.clean
    assert (unread.unread, unread.changed) == (1, 0)


def test_the_doctor_finds_our_schema(forebay: Command, registry: AnyRegistry) -> None:
    before = forebay.of_registry()
    schema_id = registered(registry)
    after = forebay.of_registry()

    assert before["state"] == "warn"
    assert "the ingest" in before["remedy"]
    assert after["state"] == "ok"
    assert f"id {schema_id}" in after["detail"]


def test_the_doctor_finds_a_schema_that_ours_does_not_go_with(forebay: Command, registry: AnyRegistry) -> None:
    registered(registry, '{"type": "record", "name": "Invoice", "fields": []}')
    with SchemaRegistryClient({"url": registry.url}) as client:
        client.set_compatibility(SUBJECT, "BACKWARD")

    found = forebay.of_registry(status=1)

    assert found["state"] == "fail"
    assert "another topic" in found["remedy"]


def test_the_doctor_knows_the_usual_faults(fake: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    forebay = Command(tmp_path / "data", fake)
    found = {}
    fake.answer = (401, {"error_code": 401, "message": "Unauthorized"})
    found["401"] = forebay.of_registry(status=1)
    fake.answer = None
    forebay.environ["FOREBAY_SCHEMA_REGISTRY_URL"] = fake.url.replace("/v7", "/v1")
    found["path"] = forebay.of_registry(status=1)
    forebay.environ["FOREBAY_SCHEMA_REGISTRY_URL"] = fake.url.replace("http:", "https:")
    found["tls"] = forebay.of_registry(status=1)
    forebay.environ["FOREBAY_SCHEMA_REGISTRY_URL"] = fake.url
    fake.down()
    found["down"] = forebay.of_registry(status=1)
    forebay.environ["FOREBAY_SCHEMA_REGISTRY"] = '{"ssl.ca.location": "/nowhere.pem"}'
    found["file"] = forebay.of_registry(status=1)

    remedies = {fault: row["detail"] + row["remedy"] for fault, row in found.items()}
    assert {row["state"] for row in found.values()} == {"fail"}
    assert "basic.auth.user.info" in remedies["401"]
    assert "/apis/ccompat/v7" in remedies["path"]
    assert "TLS" in remedies["tls"]
    assert "check that it runs" in remedies["down"]
    assert "/nowhere.pem" in remedies["file"]


def test_the_doctor_is_silent_without_a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(build(), ["--data-dir", str(tmp_path), "doctor", "--json"])

    assert "schema registry" not in [json.loads(line)["check"] for line in done.stdout.splitlines()]
