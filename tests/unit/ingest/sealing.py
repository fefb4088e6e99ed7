"""An ingest whose portals have keys for their secrets."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from forebay.console.portal_keys import portals_of
from forebay.ingest.settings import IngestSettings
from forebay.queues.memory import MemoryQueue
from forebay.queues.portals.registry import PortalRegistry
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent
from tests.unit.ingest.conftest import EVENT, Running, facts_of, running, until_read

KEY, OLD = bytes(range(32)), bytes(32)
SEAL_KEYS = {"k1": b64encode(KEY).decode()}
TOKENS = {"auth[access_token]": "accessible"}
LATER_S = 60.0


def call(member: str = "m1", event: str = "onCrmDealAdd", more: str = "") -> str:
    return EVENT.replace("member_id]=m1", f"member_id]={member}").replace("onCrmDealAdd", event) + more


@asynccontextmanager
async def sealing(queue: MemoryQueue | None = None, **settings: Any) -> AsyncIterator[Running]:
    """An ingest that has read the store, if there is one."""
    queue = queue or MemoryQueue()
    async with running(queue, **{"seal_keys": SEAL_KEYS, "ack_deadline_ms": 30_000, **settings}) as ingest:
        if not facts_of(queue).down:
            async with reader(queue):
                pass
            await asyncio.sleep(0)
        yield ingest


@asynccontextmanager
async def reader(queue: MemoryQueue) -> AsyncIterator[PortalRegistry]:
    async with portals_of(queue, IngestSettings.model_validate({"seal_keys": SEAL_KEYS})) as registry:
        await until_read(facts_of(queue), lambda: registry.is_current)
        yield registry


def events(ingest: Running) -> list[PortalEvent]:
    return [codec().decode(record.value) for record in ingest.records()]


def key_ids(ingest: Running) -> list[str]:
    return [event.sealed.key_id for event in events(ingest) if event.sealed]
