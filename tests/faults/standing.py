"""What stands in the queue when a fault is over."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from forebay.console.portal_keys import keyring
from forebay.console.reading import inspected, opened
from forebay.console.settings import load_settings
from forebay.console.traffic.simulated import SEQUENCE_PATH
from forebay.queues.errors import QueueUnavailable
from forebay.queues.reading import between
from forebay.schemas.codec import codec
from forebay.schemas.event import CannotOpenSecrets, PortalEvent
from forebay.schemas.names import GAP, QUARANTINE_ID, quarantine
from tests.e2e.site import Site
from tests.order import named

_LOOK_S = 0.05


@dataclass(kw_only=True)
class Standing:
    """All that the load has sent, and what its portals were told."""

    #: Each portal's events, in their order.
    events: dict[str, list[PortalEvent]] = field(default_factory=lambda: defaultdict(list))
    #: The events that quarantine has, by their ids.
    aside: set[str] = field(default_factory=set)
    #: Portal → of how many refused calls it was told.
    told: Counter[str] = field(default_factory=Counter)


def name_of(event: PortalEvent) -> str:
    """As the load calls it."""
    return named(event.id, event.fields[SEQUENCE_PATH])


async def standing_in(site: Site) -> Standing:
    """What stands in the queue of the site, as soon as that can be read."""
    while True:
        try:
            return await _read(site)
        except QueueUnavailable:
            await asyncio.sleep(_LOOK_S)


async def unopened(site: Site, events: Iterable[PortalEvent]) -> list[str]:
    """Those of the events whose secrets nobody can open who has the site's seal keys, by their ids."""
    environ = {"FOREBAY_SEAL_KEYS": site.settings["seal_keys"]}
    settings = load_settings(options={"queue_url": site.settings["queue_url"]}, environ=environ).settings
    async with opened(settings) as queue:
        keys = await keyring(settings, queue)
    found = []
    for event in events:
        try:
            event.secrets(keys)
        except CannotOpenSecrets:
            found.append(event.id)
    return found


async def _read(site: Site) -> Standing:
    settings = load_settings(options={"queue_url": site.settings["queue_url"]}, environ={}).settings
    found = Standing()
    async with opened(settings) as queue, inspected(queue) as inspector:
        for partition, bounds in (await inspector.bounds(settings.topic)).items():
            async for record in between(inspector, settings.topic, partition, bounds.start, bounds.end):
                event = codec().decode(record.value)
                if event.name == GAP:
                    found.told[event.portal] += int(event.fields["data[COUNT]"])
                else:
                    found.events[event.portal].append(event)
        for partition, bounds in (await inspector.bounds(quarantine(settings.topic))).items():
            async for record in between(inspector, quarantine(settings.topic), partition, bounds.start, bounds.end):
                found.aside.add(dict(record.headers)[QUARANTINE_ID].decode())
    return found
