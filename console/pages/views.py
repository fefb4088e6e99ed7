"""What each page shows: the rows of the commands that look."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import falcon

from forebay.console.errors import WrongUsage
from forebay.console.event_rows import newest
from forebay.console.group_lag import unfinished
from forebay.console.known_portals import details, first
from forebay.console.letters.details import details_of
from forebay.console.letters.letters import BOXES, Filter, Letter, letters
from forebay.console.orders.parked import waiting
from forebay.console.orders.parking_view import Waiting
from forebay.console.orders.trail import deeds
from forebay.console.reading import portal_key
from forebay.console.terminal.output import Row
from forebay.console.times import utc_now

from .links import command, group_address, portal_address
from .look import Asked, Look
from .newest import Newest
from .page import MOST_ROWS, Page, Sheet

_NEWEST_EVENTS = 20
_AUDIT_OF = timedelta(days=30)

#: So long the page of a portal reads what waits in its partition, of which there may be millions, and its letters: all
#: else is shown in any case.
_BACKLOG_S, _LETTERS_S = 8.0, 6.0

#: So long a list is read, of which there may be a million: what was read is worth more than a word that it is too long.
_LIST_S = 14.0

_KEPT_NOWHERE = (
    'this process has neither auth = "registry" nor seal_keys, with which it is kept who may call; the page of each '
    "portal is there all the same"
)

_NO_TIME = "there was no time to read all that waits in its partition; `forebay lag --portal` does"

_SEALED = "it is sealed, and this page opens nothing: `forebay quarantine show` does"


def _portal_of(asked: Asked) -> str | None:
    return portal_key(asked["portal"]) if "portal" in asked else None


async def group(look: Look, asked: Asked) -> Page:
    """How far a group is behind, a row a partition, and its portals that wait."""
    name = asked["group"]
    if name not in await look.groups():
        raise falcon.HTTPNotFound(description=f"nobody ever read as group {name}")
    rows = await unfinished(look.inspector, look.settings.topic, [name], None)
    found = await waiting(look.inspector, look.settings, name, None, None)
    partitions = Sheet(
        title="Partitions",
        rows=_with_parked(rows, found)[name],
        nothing="",
        commands=[command("lag", "--group", name)],
        is_bad=_is_behind,
    )
    return Page(title=f"Group {name}", is_live=True, sheets=[partitions, _parked(found)])


def _is_behind(row: Row) -> bool:
    return bool(row["parked"] or (row["records"] and row["owner"] is None))


def _with_parked(unfinished: Mapping[str, Sequence[Row]], found: Iterable[Waiting]) -> dict[str, list[Row]]:
    """Group → its rows, with how many records of parked portals wait beside those of the topic."""
    parked: Counter[tuple[str, object]] = Counter()
    for one in found:
        parked[one.group, one.partition] += one.records
    return {
        group: [{**row, "parked": parked[group, row["partition"]]} for row in rows]
        for group, rows in unfinished.items()
    }


async def parked(look: Look, asked: Asked) -> Page:
    """The portals that wait, the longest first."""
    portal, of = _portal_of(asked), asked.get("group")
    filters = {"portal": portal or "", "group": of or ""}
    found = await waiting(look.inspector, look.settings, of, portal, None)
    return Page(title="Parked", filters=filters, sheets=[_parked(found)])


def _parked(found: Sequence[Waiting]) -> Sheet:
    return Sheet(
        title="Portals that wait",
        rows=[one.row() for one in found[:MOST_ROWS]],
        count=len(found),
        nothing="no portal waits",
        commands=[command("parked", "resume", "--portal", "PORTAL", "--group", "GROUP"), command("parked", "--help")],
        links={"portal": portal_address, "group": group_address},
    )


async def dead(look: Look, asked: Asked) -> Page:
    """The open dead letters, the newest first."""
    return await _letters(look, asked, "dead", "Dead letters")


async def quarantine(look: Look, asked: Asked) -> Page:
    """The open calls that could not be read, the newest first."""
    return await _letters(look, asked, "quarantine", "Quarantine")


async def _letters(look: Look, asked: Asked, name: str, title: str) -> Page:
    wanted = Filter(portal=_portal_of(asked), event=asked.get("event"), error=asked.get("error"))
    filters = {"portal": wanted.portal or "", "event": wanted.event or "", "error": wanted.error or ""}
    return Page(title=title, filters=filters, sheets=[await _box(look, name, wanted, _LIST_S)])


async def _box(look: Look, name: str, wanted: Filter, within_s: float) -> Sheet:
    kept = Newest()
    await kept.add_all(_told(letters(look.inspector, look.codec, BOXES[name], look.settings.topic, wanted)), within_s)
    return Sheet(
        title=f"Open {BOXES[name].what}s",
        rows=kept.rows,
        count=kept.count,
        note=kept.note,
        nothing="" if kept.note else f"no {BOXES[name].what} is open",
        commands=[*(command(name, do, "ID") for do in ("replay", "discard")), command(name, "--help")],
        links={"id": lambda row: f"/{name}/{quote(str(row['id']), safe='')}", "portal": portal_address},
    )


async def _told(found: AsyncIterator[Letter]) -> AsyncIterator[tuple[datetime, Row]]:
    async for letter in found:
        yield letter.at, letter.row()


async def dead_letter(look: Look, asked: Asked) -> Page:
    """Everything that is known of a dead letter."""
    letter = await _letter(look, asked["id"], "dead")
    return Page(
        title=f"Dead letter {letter.id}",
        values=details_of(letter, {}, look.codec),
        commands=[command("dead", do, letter.id) for do in ("replay", "discard")],
    )


async def quarantined_call(look: Look, asked: Asked) -> Page:
    """Everything that is known of a quarantined call. What is sealed stays so."""
    letter = await _letter(look, asked["id"], "quarantine")
    values = details_of(letter, {}, look.codec)
    return Page(
        title=f"Quarantined call {letter.id}",
        values=values | ({"unreadable": _SEALED} if values["unreadable"] else {}),
        commands=[command("quarantine", do, letter.id) for do in ("show", "replay", "discard")],
    )


async def _letter(look: Look, letter_id: str, name: str) -> Letter:
    wanted = Filter(ids=(letter_id,))
    found = [one async for one in letters(look.inspector, look.codec, BOXES[name], look.settings.topic, wanted)]
    if not found:
        raise falcon.HTTPNotFound(description=f"no open {BOXES[name].what} has the id {letter_id}")
    # An event that was replayed and died again has two, until somebody deals with the first.
    return max(found, key=lambda letter: letter.at)


async def portals(look: Look, asked: Asked) -> Page:
    """Who may call; or the way to the page of one."""
    if key := _portal_of(asked):
        raise falcon.HTTPFound(portal_address({"portal": key}))
    keeps = look.settings.keeps_portals
    count, rows = await first(look.settings, MOST_ROWS) if keeps else (0, [])
    known = Sheet(
        title="Known",
        rows=rows,
        count=count,
        nothing="no portal is known" if keeps else _KEPT_NOWHERE,
        commands=[command("portals", "--help")],
        links={"portal": portal_address},
        is_bad=lambda row: row["state"] == "refused",
    )
    return Page(title="Portals", filters={"portal": ""}, sheets=[known])


async def portal(look: Look, asked: Asked) -> Page:
    """All about one portal: what waits of it, what was given up, and what it sent last."""
    key = portal_key(asked["portal"])
    behind = await _behind(look, key)
    found = await waiting(look.inspector, look.settings, None, key, None)
    return Page(
        title=f"Portal {key}",
        sheets=[
            _unfinished(key, behind, found),
            _parked(found),
            await _box(look, "dead", Filter(portal=key), _LETTERS_S),
            Sheet(
                title="Newest events",
                rows=await newest(look.inspector, look.codec, look.settings.topic, key, _NEWEST_EVENTS),
                nothing="none of its events is among the newest of its partition",
                commands=[command("tail", "--portal", key, "--from", "-1h"), command("replay", "--help")],
            ),
            *await _known(look, key),
        ],
    )


async def _behind(look: Look, key: str) -> dict[str, list[dict[str, Any]]] | None:
    """Group → what is not finished of the portal; None where there was no time to read that."""
    try:
        async with asyncio.timeout(_BACKLOG_S):
            return await unfinished(look.inspector, look.settings.topic, await look.groups(), key)
    except TimeoutError:
        return None


def _unfinished(key: str, behind: Mapping[str, Sequence[Row]] | None, found: Iterable[Waiting]) -> Sheet:
    rows = _with_parked(behind or {}, found)
    return Sheet(
        title="Not finished",
        rows=[{"group": group, **row} for group, of_group in rows.items() for row in of_group],
        nothing="nobody has read the topic yet" if behind is not None else _NO_TIME,
        commands=[command("lag", "--portal", key, "--group", "GROUP")],
        links={"group": group_address},
        is_bad=_is_behind,
    )


async def _known(look: Look, key: str) -> list[Sheet]:
    if not look.settings.keeps_portals:
        return []
    try:
        rows = await details(look.settings, key)
    except WrongUsage as error:
        return [Sheet(title="Tokens", rows=[], nothing=str(error))]
    return [Sheet(title="Tokens", rows=rows, nothing="it has no token", commands=[command("portals", "show", key)])]


async def audit(look: Look, asked: Asked) -> Page:
    """What operators did, the newest first."""
    key = _portal_of(asked)
    kept = Newest()
    await kept.add_all(deeds(look.inspector, look.settings.topic, key, utc_now() - _AUDIT_OF, None), _LIST_S)
    sheet = Sheet(
        title="Orders of the last 30 days",
        rows=kept.rows,
        count=kept.count,
        note=kept.note,
        nothing="" if kept.note else "nobody did anything",
        commands=[command("audit")],
        links={"portal": portal_address, "group": group_address},
    )
    return Page(title="Audit", filters={"portal": key or ""}, sheets=[sheet])
