"""What `forebay doctor` looks at in the queue, and in what stands there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING

from forebay.console.group_lag import read_by_others
from forebay.console.reading import firsts, inspected, opened
from forebay.queues.errors import QueueError
from forebay.queues.findings import Finding

from .moved import moved_findings
from .needs import Side, needs

if TYPE_CHECKING:
    from forebay.console.settings import Settings
    from forebay.queues.contract import Inspector

#: A queue that needs longer for an answer is not there.
_QUEUE_S = 15.0

#: A record may be so far ahead of this machine's clock.
_AHEAD_S = 5.0


async def queue_findings(settings: "Settings", side: Side) -> AsyncIterator[Finding]:
    """What the system itself tells, and then what stands in the topic, if that may be read."""
    try:
        async with asyncio.timeout(_QUEUE_S) as patience, opened(settings) as queue:
            wanted, found = needs(settings, side), []
            async for finding in queue.diagnose(wanted):
                _begin_anew(patience)
                found.append(finding)
                yield finding
            if not _may_be_read(found):
                return
            async with inspected(queue) as inspector:
                if queue.promises.replay:
                    async for finding in moved_findings(inspector, settings.topic, settings.group):
                        yield finding
                if "read" in wanted.streams[settings.topic]:
                    async for finding in _content(inspector, settings, wanted.group, patience):
                        yield finding
    except QueueError as error:
        # It says itself what to do.
        yield Finding(check="queue", state="fail", detail=str(error))
    except TimeoutError:
        detail, remedy = f"did not answer within {_QUEUE_S:g} s", "see that it runs, and that queue_url leads there"
        yield Finding(check="queue", state="fail", detail=detail, remedy=remedy)


def _begin_anew(patience: asyncio.Timeout) -> None:
    """It has answered: of hundreds of partitions, each answer is one."""
    if not patience.expired():
        patience.reschedule(asyncio.get_running_loop().time() + _QUEUE_S)


async def _content(
    inspector: "Inspector", settings: "Settings", group: str | None, patience: asyncio.Timeout
) -> AsyncIterator[Finding]:
    yield await _newest(inspector, settings.topic, patience)
    async for finding in _withheld(inspector, settings.topic):
        yield finding
    if group is not None and (others := await _others(inspector, settings)):
        yield _never_read(settings, others)


def _may_be_read(found: list[Finding]) -> bool:
    return any((one.check, one.state) == ("queue", "ok") for one in found) and all(one.state != "fail" for one in found)


async def _others(inspector: "Inspector", settings: "Settings") -> list[str]:
    # Who may see his own group need not be allowed to see those of others.
    with suppress(QueueError):
        return await read_by_others(inspector, settings.topic, settings.group)
    return []


def _never_read(settings: "Settings", others: list[str]) -> Finding:
    return Finding(
        check=f"group {settings.group}",
        state="warn",
        detail=f"has never read {settings.topic}, and {', '.join(others)} did: it begins with the oldest event",
        remedy="set group as it was, unless all that is kept is to be handled by this one too",
    )


async def _withheld(inspector: "Inspector", topic: str) -> AsyncIterator[Finding]:
    bounds = await inspector.bounds(topic)
    if found := {number: one.withheld for number, one in bounds.items() if one.withheld}:
        which, first = ", ".join(map(str, found)), min(found)
        yield Finding(
            check=f"topic {topic}",
            state="warn",
            detail=f"another program's transaction is open in partitions {which}: no worker gets the "
            f"{sum(found.values()):,} records that came since, before it ends",
            remedy=f"whose it is: kafka-transactions describe-producers --topic {topic} --partition {first}; end that "
            "program's work, or the transaction by kafka-transactions abort",
        )


async def _newest(inspector: "Inspector", topic: str, patience: asyncio.Timeout) -> Finding:
    bounds = await inspector.bounds(topic)
    spans = {number: (max(one.start, one.end - 1), one.end) for number, one in bounds.items()}
    last = await firsts(inspector, topic, spans, lambda: _begin_anew(patience))
    newest_ms = max((record.timestamp_ms for record in last.values()), default=0)
    ahead_s = newest_ms / 1000 - time()
    if not newest_ms:
        return Finding(check="newest record", state="ok", detail="the queue is empty")
    if ahead_s > _AHEAD_S:
        remedy = "set the clocks of the machines by NTP"
        return Finding(check="newest record", state="warn", detail=f"is {ahead_s:.0f} s in the future", remedy=remedy)
    return Finding(check="newest record", state="ok", detail=f"{max(0.0, -ahead_s):,.0f} s old")
