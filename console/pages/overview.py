"""What an operator looks at first."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from forebay.console.checks.queue import queue_findings
from forebay.console.group_lag import lags
from forebay.console.letters.letters import BOXES, open_records
from forebay.console.orders.trail import deeds
from forebay.console.terminal.output import Row
from forebay.console.times import utc_now
from forebay.queues.findings import Finding

from .links import command, group_address, portal_address
from .look import Asked, Look
from .newest import Newest
from .page import Page, Sheet

_NEWEST_ORDERS = 10
_ORDERS_OF = timedelta(days=1)

#: So long it looks at groups, of which a shared Kafka may have very many.
_GROUPS_S = 8.0
_TOO_MANY = "there was no time for those without numbers: the page of each has them"

#: So long it counts what waits for a person, of each kind: in a night with more than that, all else has to be seen too.
_COUNTS_S = 4.0

#: The same of what operators did: a replay is an order for each portal.
_ORDERS_S = 2.0


async def overview(look: Look, asked: Asked) -> Page:
    """How it stands with the queue, with each group, and with what waits for a person."""
    found = [finding async for finding in queue_findings(look.settings, "canary")]
    sheets = [_queue(found)]
    if any(one.check == "queue" and one.state != "fail" for one in found):
        sheets += [await _groups(look), await _letters(look), await _orders(look)]
    # Of a queue that does not answer nothing else can be shown, and each question would wait for it anew.
    return Page(title="Overview", is_live=True, sheets=sheets)


def _queue(found: list[Finding]) -> Sheet:
    troubles = [one for one in found if one.state != "ok"]
    return Sheet(
        title="Queue",
        rows=[{"check": one.check, "state": one.state, "detail": one.detail, "remedy": one.remedy} for one in troubles],
        nothing="the queue is as it must be",
        commands=[command("doctor")],
        is_bad=lambda row: row["state"] == "fail",
    )


async def _groups(look: Look) -> Sheet:
    until = asyncio.get_running_loop().time() + _GROUPS_S
    rows = [await _group_until(look, group, until) for group in await look.groups()]
    return Sheet(
        title="Groups",
        rows=rows,
        nothing="nobody has read the topic yet",
        note=_TOO_MANY if any(row["partitions"] is None for row in rows) else "",
        commands=[command("lag", "--group", "GROUP")],
        links={"group": group_address},
        is_bad=lambda row: bool(row["parked"] or (row["records"] and row["unowned"])),
    )


async def _group_until(look: Look, group: str, until: float) -> Row:
    try:
        async with asyncio.timeout_at(until):
            return await _group(look, group)
    except TimeoutError:
        return {"group": group} | dict.fromkeys(("records", "seconds", "partitions", "unowned", "parked"))


async def _group(look: Look, group: str) -> Row:
    rows: Sequence[Mapping[str, Any]] = await lags(look.inspector, look.of_group(group), None)
    return {
        "group": group,
        "records": sum(row["records"] for row in rows),
        "seconds": max((row["seconds"] for row in rows), default=0.0),
        "partitions": len(rows),
        "unowned": sum(row["owner"] is None for row in rows),
        "parked": sum(row["parked"] or 0 for row in rows),
    }


async def _letters(look: Look) -> Sheet:
    return Sheet(
        title="Waiting for a person",
        rows=[await _open(look, name) for name in BOXES],
        nothing="",
        links={"what": lambda row: f"/{row['what']}"},
        is_bad=lambda row: bool(row["open"]),
    )


async def _open(look: Look, name: str) -> Row:
    stream = BOXES[name].stream(look.settings.topic)
    count = 0
    try:
        async with asyncio.timeout(_COUNTS_S):
            async for _ in open_records(look.inspector, look.settings.topic, stream):
                count += 1
    except TimeoutError:
        return {"what": name, "open": f"more than {count:,}"}
    return {"what": name, "open": count}


async def _orders(look: Look) -> Sheet:
    kept = Newest()
    await kept.add_all(deeds(look.inspector, look.settings.topic, None, utc_now() - _ORDERS_OF, None), _ORDERS_S)
    return Sheet(
        title="What operators did today",
        rows=kept.rows[:_NEWEST_ORDERS],
        note=kept.note,
        nothing="" if kept.note else "nobody did anything",
        commands=[command("audit", "--since", "-1d")],
        links={"portal": portal_address, "group": group_address},
    )
