"""What stands in the queue of a site."""

from collections import defaultdict

from forebay.console.reading import inspected, opened
from forebay.console.settings import load_settings
from forebay.queues.reading import between
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent
from tests.e2e.site import Site


async def standing(site: Site) -> dict[str, list[PortalEvent]]:
    """Each portal's events, in their order."""
    own: dict[str, object] = {name: site.settings[name] for name in ("data_dir", "queue_url") if name in site.settings}
    settings = load_settings(options=own, environ={}).settings
    found: dict[str, list[PortalEvent]] = defaultdict(list)
    async with opened(settings) as queue, inspected(queue) as inspector:
        for partition, bounds in (await inspector.bounds(settings.topic)).items():
            async for record in between(inspector, settings.topic, partition, bounds.start, bounds.end):
                found[record.key].append(codec().decode(record.value))
    return found


async def ids(site: Site) -> dict[str, list[str]]:
    """The same by their ids."""
    return {portal: [event.id for event in events] for portal, events in (await standing(site)).items()}
