"""An ingest that starts with a schema registry: its first events have the id, and it waits for no registry for ever."""

import asyncio
from functools import partial

import pytest
from falcon.testing import ASGIConductor

from forebay.ingest.app import create_app
from forebay.ingest.registration import Registration
from forebay.ingest.settings import IngestSettings
from forebay.processors.testing import event
from forebay.queues.memory import MemoryQueue
from forebay.queues.registry.teacher import Teacher
from forebay.schemas.codec import new_codec
from tests.registry.site import TOPIC
from tests.unit.ingest.conftest import LONG_S

#: Turns of the loop in which all that waits for nothing comes to its end.
_TURNS = 200


class HeldRegistry:
    """Answers when it is let; its id is 7."""

    def __init__(self) -> None:
        self.asked, self.lets = asyncio.Event(), asyncio.Event()

    async def schema_of(self, schema_id: int) -> str | None:
        raise NotImplementedError

    async def id_of(self, subject: str, schema: str) -> int | None:
        self.asked.set()
        await self.lets.wait()
        return 7

    async def register(self, subject: str, schema: str) -> int:
        raise NotImplementedError

    async def is_compatible(self, subject: str, schema: str) -> bool:
        raise NotImplementedError

    async def close(self) -> None:
        pass


async def _rest() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def test_no_call_is_taken_before_a_registry_has_answered_so_that_the_first_event_has_its_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forebay.ingest.app.Registration", partial(Registration, patience_s=LONG_S))
    queue, registry = MemoryQueue(), HeldRegistry()
    conductor = ASGIConductor(create_app(IngestSettings(auth=("none",)), queue, registry=registry).app)

    starting = asyncio.create_task(conductor.__aenter__())
    await registry.asked.wait()
    await _rest()
    has_started = starting.done()
    registry.lets.set()
    await starting
    await _rest()
    taken = await conductor.simulate_post("/bitrix24", body="event=ONCRMDEALADD&auth[domain]=one.bitrix24.example")
    await conductor.__aexit__(None, None, None)

    assert not has_started
    assert taken.json["status"] == "accepted"
    [record] = [record for log in queue.logs[TOPIC] for record in log]
    assert record.value[:5] == b"\x00" + (7).to_bytes(4)


async def test_a_registry_that_hangs_keeps_no_ingest_from_starting_and_its_id_comes_later() -> None:
    codec, registry = new_codec(), HeldRegistry()
    registration = Registration(registry, Teacher(codec, registry, TOPIC), patience_s=0)

    await registration.open()
    without = codec.encode(event("ONCRMDEALADD"))
    registry.lets.set()
    await _rest()

    assert without[:2] == b"\xc3\x01"
    assert registration.state == "ok"
    assert codec.encode(event("ONCRMDEALADD"))[:1] == b"\x00"
    await registration.close()
