"""The store of portals, for whoever opens their secrets on the console's side of things."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from forebay.ingest.settings import IngestSettings
from forebay.queues.errors import QueueError
from forebay.queues.portals.book import Book
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.stored_keys import Keyring, StoredKeys
from forebay.queues.portals.tokens import TokenKeys

from .reading import opened

if TYPE_CHECKING:
    from forebay.queues.contract import Queue

#: A worker begins without the portals' keys when they can't be read by then; handlers that need one are tried again.
_START_S = 10.0

#: A hundred thousand portals are read in a few seconds.
_READ_S = 60.0


@asynccontextmanager
async def portals_of(queue: "Queue", settings: IngestSettings) -> AsyncIterator[PortalRegistry]:
    """What is known of the portals, followed from now on."""
    registry = PortalRegistry(queue.portals(settings.topic), TokenKeys(settings.seal_key_bytes()))
    registry.open()
    try:
        yield registry
    finally:
        await registry.close()


async def all_portals(registry: PortalRegistry) -> Book:
    """What is known of them, once all was read that was kept before. Raises `QueueError`."""
    # The first look makes the store where it isn't there.
    await registry.following.reached(-1, _READ_S)
    return await registry.following.refresh(_READ_S)


@asynccontextmanager
async def stored_keys(settings: IngestSettings, queue: "Queue") -> AsyncIterator[StoredKeys | None]:
    """The keys of the portals' secrets; None where the settings have no key to open them with."""
    if not settings.seal_keys:
        yield None
        return
    async with portals_of(queue, settings) as registry:
        with suppress(QueueError):
            # To its end once; the first process of all makes the store before.
            await registry.following.reached(-1, _START_S)
        yield StoredKeys(registry)


async def keyring(settings: IngestSettings, queue: "Queue") -> Mapping[str, bytes]:
    """Every key that is known now. Without a seal key there is none; without the store only the seal keys are."""
    async with stored_keys(settings, queue) as stored:
        return Keyring(settings.seal_key_bytes(), stored) if stored else {}


async def keyring_of(settings: IngestSettings) -> Mapping[str, bytes]:
    """The same, by a queue that is opened for it."""
    async with opened(settings) as queue:
        return await keyring(settings, queue)
