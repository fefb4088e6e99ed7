"""The store of portals, for whoever opens their secrets on the console's side of things."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from forebay.ingest.settings import IngestSettings
from forebay.queues.errors import QueueError, UnknownStream
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.stored_keys import Keyring, StoredKeys
from forebay.queues.portals.tokens import TokenKeys
from forebay.schemas import names

from .reading import opened, portal_store

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


@asynccontextmanager
async def known_portals(
    queue: "Queue", settings: IngestSettings, patience_s: float | None = None
) -> AsyncIterator[PortalRegistry]:
    """The registry, when it has read all that was kept before. Raises `QueueError`; where there is no store,
    `UnknownStream` rather than make one.
    """
    patience_s = patience_s or _READ_S
    await _check_kept(queue, settings)
    async with portals_of(queue, settings) as registry:
        await registry.following.reached(-1, patience_s)
        await registry.following.refresh(patience_s)
        yield registry


async def _check_kept(queue: "Queue", settings: IngestSettings) -> None:
    """Raises `UnknownStream` where no store is: who follows one makes it, and then waits for a queue that is away."""
    topic = settings.topic
    async with portal_store(queue, topic) as store:
        if not await store.ensure(only_plan=True):
            return
    if not settings.keeps_portals:
        raise UnknownStream(
            'nothing is kept about portals: the settings have neither auth = "registry" nor seal_keys; are they those '
            "of the ingest?"
        )
    raise UnknownStream(
        f"there is no stream {names.portals(topic)}: is {topic} the topic? `forebay topics ensure` makes the stream "
        'where portals are kept (auth = "registry", or seal_keys)'
    )


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
    """Every key that is known now. Without a seal key there is none; without the store, which is not made for it, only
    the seal keys are.
    """
    if not settings.seal_keys:
        return {}
    seal_keys = settings.seal_key_bytes()
    with suppress(QueueError):
        async with known_portals(queue, settings, _START_S) as registry:
            return Keyring(seal_keys, StoredKeys(registry))
    return seal_keys


async def keyring_of(settings: IngestSettings) -> Mapping[str, bytes]:
    """The same, by a queue that is opened for it."""
    async with opened(settings) as queue:
        return await keyring(settings, queue)
