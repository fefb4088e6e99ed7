"""What `forebay doctor` says of who may call from where."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from forebay.queues.findings import Finding

if TYPE_CHECKING:
    from forebay.console.settings import Settings


async def caller_findings(settings: "Settings") -> AsyncIterator[Finding]:
    """Nothing where every address may call and no proxy's word counts."""
    for finding in _settings(settings):
        yield finding
    if settings.callers.allow_url:
        yield await _published(settings.callers.allow_url)


def _settings(settings: "Settings") -> Iterator[Finding]:
    from forebay.ingest.callers.published import BadAllowList, networks_of_file

    callers = settings.callers
    if callers.limits and not callers.trusted_proxies and settings.bind.startswith(("127.", "localhost", "[::1]")):
        yield Finding(
            check="callers",
            state="warn",
            detail=f"{settings.bind} is called by a proxy, if by anybody: it is the proxy's address that is looked up",
            remedy='name the proxy, as in callers = { trusted_proxies = ["127.0.0.1"] }',
        )
    if callers.allow_file:
        try:
            found = networks_of_file(callers.allow_file)
        except BadAllowList as error:
            yield Finding(check="callers allow_file", state="fail", detail=str(error), remedy="write a network a line")
        else:
            yield Finding(check="callers allow_file", state="ok", detail=f"{len(found)} networks")


async def _published(url: str) -> Finding:
    from forebay.ingest.callers.published import BadAllowList, fetched, networks_in

    try:
        found = networks_in(await asyncio.to_thread(fetched, url), url)
    except BadAllowList as error:
        remedy = "look at callers.allow_url; the ingest goes on with the last good list"
        return Finding(check="callers allow_url", state="warn", detail=str(error), remedy=remedy)
    return Finding(check="callers allow_url", state="ok", detail=f"{len(found)} networks")
