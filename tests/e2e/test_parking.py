"""Portals in trouble, and workers that die or are moved while these are parked, spilled and drained."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

import pytest

from tests.e2e.crew import Crew, crew
from tests.e2e.site import Site
from tests.e2e.trouble import HANDLERS, LADDER
from tests.order import Line, judge

#: Events a second.
RATE = 150.0

#: What is parked and may come again after a kill had ended within so many lines of the book before it.
LINES_BEFORE_A_KILL = 1500

BROKEN = ("portal-3.bitrix24.example", "portal-17.bitrix24.example")

Start = Callable[[], AbstractAsyncContextManager[Crew]]


@pytest.fixture(params=["sqlite", "redis", "rabbitmq", pytest.param("kafka", marks=pytest.mark.kafka)])
def started(site: Site, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a crew on the queue."""
    monkeypatch.setenv("BOOK", str(site.folder / "handled.log"))
    if request.param == "kafka":
        url = request.getfixturevalue("kafka").url
    elif request.param == "redis":
        url = request.getfixturevalue("redis_url")
    elif request.param == "rabbitmq":
        url = request.getfixturevalue("rabbitmq_url")
    else:
        url = f"sqlite:///{site.folder}/queue.db"
    return lambda: crew(site, url, partitions=2, **LADDER)


def has_ended(made: Crew, portal: str) -> int:
    return sum(line.what == "ended" and line.portal == portal for line in made.book.read().lines)


def is_parked(site: Site, portal: str) -> bool:
    """Whether one of the workers that run says so in its log."""
    return any(
        "portal parked" in line and portal in line for name in site.running for line in site.log(name).splitlines()
    )


def unexplained(made: Crew, lines: list[Line], again: list[Line]) -> list[Line]:
    """Of what came again, that which had been committed when the last that had handled it was killed.

    What waits in the parked stream is behind the commit: of that, what had ended well before the kill.
    """
    kills = {line.pid: line.number for line in lines if line.what == "gone"}
    ended: dict[str, Line] = {}
    found, told = list[Line](), set(again)
    for line in lines:
        if line.what == "ended":
            ended[line.event] = line
        elif line in told and not _is_explained(made, ended[line.event], kills):
            found.append(line)
    return found


def _is_explained(made: Crew, ended: Line, kills: Mapping[int, int]) -> bool:
    if ended.pid not in kills:
        return False
    if ended.portal in BROKEN:
        return kills[ended.pid] - ended.number < LINES_BEFORE_A_KILL
    partition, offset = made.places[ended.event]
    return offset >= made.committed_before[ended.pid].get(partition, 0)


async def test_portals_in_trouble_wait_in_order_and_the_others_go_on_whoever_is_killed_meanwhile(
    site: Site, started: Start
) -> None:
    async with started() as made:
        (site.folder / "shop.py").write_text(HANDLERS)
        for portal in BROKEN:
            (site.folder / portal).touch()
        made.start("a", "b")
        async with made.loaded(RATE):
            await made.until("portals parked", lambda: all(is_parked(site, portal) for portal in BROKEN))
            # Killed while they are parked, and while records of theirs go to the parked stream.
            await made.kill("a")
            made.start("c")
            await made.works("c")
            await made.kill("b")
            await made.works("c", 100)
            # A worker joins, and partitions move to it with those who are parked there.
            made.start("d")
            await made.works("d")
            await asyncio.sleep(2)
            assert [has_ended(made, portal) for portal in BROKEN] == [0, 0]
            for portal in BROKEN:
                (site.folder / portal).unlink()
            # Killed while it drains.
            await made.until("a drain", lambda: any(has_ended(made, portal) for portal in BROKEN))
            await made.kill("c")
            made.start("e")
            await made.works("e")
            await made.stop("d")
        await made.ended()
        await made.stop("e")
        committed = await made.committed()

    lines = made.book.read().lines
    verdict = judge(made.sent, lines)
    print(f"{len(made.places)} events, {len(verdict.again)} came again")
    assert verdict.good, verdict
    assert unexplained(made, lines, verdict.again) == []
    assert sum(committed.values()) == len(made.places)
