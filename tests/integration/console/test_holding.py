"""Operators hold, resume and discard portals, while a real worker works."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from forebay import Reject
from forebay.console.letters.letters import Filter
from forebay.console.letters.resolving import plan_of, replay_letters
from forebay.console.orders.following import Following
from forebay.console.orders.parked import list_waiting, order
from forebay.processors.parking.orders import What
from forebay.queues.errors import QueueUnavailable
from forebay.schemas.codec import new_codec
from tests.waiting import until

from .site import Program, Site

A, B, WELL = (f"{name}.bitrix24.example" for name in ("a", "b", "well"))
DOWN = ConnectionError("the shop is down")

#: Parked after one try, and then left alone for longer than a test takes.
PARKS: Mapping[str, Any] = {"tries": 30, "memory_tries": 1, "park_first_s": 3600.0, "park_longest_s": 3600.0}


async def ordered(site: Site, what: What, *portals: str, wait: bool = True) -> Following:
    return (await order(site.settings, what, portals, "the night shift", wait=wait)).following


async def rows(site: Site, portal: str | None = None, reason: str | None = None) -> list[dict[str, Any]]:
    return [one.row() for one in await list_waiting(site.settings, None, portal, reason)]


async def told(site: Site, portal: str, **wanted: object) -> dict[str, Any]:
    """The portal's row, once it says what is wanted: a worker tells it with its next commit."""
    async with asyncio.timeout(30):
        while True:
            found = await rows(site, portal)
            if found and wanted.items() <= found[0].items():
                return found[0]
            await asyncio.sleep(0.02)


async def test_a_parked_portal_is_listed_with_all_its_keys(site: Site) -> None:
    program = Program(errors={A: DOWN})
    await site.send(A, 1, 2, 3)
    await site.send(WELL, 1)
    site.start(program, **PARKS)

    row = await told(site, A, records=3, attempts=1)

    assert (row["portal"], row["group"], row["reason"], row["held"], row["ordered"]) == (
        A,
        "forebay",
        "failing",
        False,
        None,
    )
    assert (row["error"], row["error_class"]) == ("the shop is down", "ConnectionError")
    assert row["since"] < row["next_due"]
    assert isinstance(row["partition"], int)
    assert [one["portal"] for one in await rows(site)] == [A]
    assert await rows(site, reason="flooding") == []
    assert len(await rows(site, reason="failing")) == 1


async def test_a_portal_that_is_not_parked_is_held_and_resumed(site: Site) -> None:
    program = Program()
    site.start(program)
    await site.send(A, 1)
    await site.all_committed()

    held = await ordered(site, What.HOLD, A)
    await site.send(A, 2, 3)
    await site.send(WELL, 1)
    await site.all_committed()
    row = await told(site, A, records=2)
    before = {portal: list(numbers) for portal, numbers in program.handled.items()}
    await ordered(site, What.RESUME, A)
    await until(lambda: program.handled[A] == [1, 2, 3])

    assert held.open == 0
    assert (row["held"], row["reason"], row["next_due"]) == (True, "held", None)
    assert before == {A: [1], WELL: [1]}
    async with asyncio.timeout(30):
        while await rows(site):
            await asyncio.sleep(0.02)


async def test_an_order_for_which_there_is_nothing_to_do_is_obeyed_too(site: Site) -> None:
    before = await ordered(site, What.RESUME, A)
    await site.send(WELL, 1)
    site.start(Program())
    await site.all_committed()

    resumed = await ordered(site, What.RESUME, A)

    assert (before.open, resumed.open) == (1, 0)
    assert await rows(site) == []


async def test_what_is_ordered_is_told_where_the_queue_does_not_answer_any_more(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def gone(_: Following) -> None:
        raise QueueUnavailable("a restart")

    monkeypatch.setattr(Following, "_look", gone)

    with pytest.raises(QueueUnavailable, match="a restart"):
        await ordered(site, What.HOLD, A, B)

    assert "hold: ordered for 2 portals; whether a worker has obeyed is not known" in capsys.readouterr().err


async def test_what_was_ordered_before_a_worker_came_is_obeyed_by_it_also_where_nothing_is_to_be_done(
    site: Site,
) -> None:
    await ordered(site, What.RESUME, A)
    before = await rows(site)

    site.start(Program())

    assert [row["ordered"] for row in before] == ["resume"]
    async with asyncio.timeout(30):
        while await rows(site):
            await asyncio.sleep(0.02)


async def test_resume_tries_at_once_what_waits_for_its_time(site: Site) -> None:
    program = Program(errors={A: DOWN, B: DOWN})
    await site.send(A, 1, 2)
    await site.send(B, 1)
    site.start(program, **PARKS)
    await told(site, A, records=2, attempts=1)
    await told(site, B, records=1, attempts=1)
    program.errors.clear()

    await ordered(site, What.RESUME, A)
    await until(lambda: program.handled[A] == [1, 2])

    assert program.handled[B] == []
    assert [row["portal"] for row in await rows(site, B)] == [B]


async def test_discard_makes_dead_letters_of_what_waits_and_they_can_be_replayed(site: Site) -> None:
    program = Program(errors={A: DOWN})
    await site.send(A, 1, 2)
    site.start(program, **PARKS)
    await told(site, A, records=2, attempts=1)
    program.errors.clear()

    await ordered(site, What.DISCARD, A)
    async with asyncio.timeout(30):
        while len(letters := await site.dead()) < 2:
            await asyncio.sleep(0.02)
    await site.send(A, 3)
    await until(lambda: program.handled[A] == [3])
    plan = await plan_of(site.settings, new_codec(), "dead", Filter(error="discarded"))
    is_clean = await replay_letters(site.settings, plan, None, "")

    assert {letter.error_class for letter in letters} == {"forebay.processors.errors.Discarded"}
    assert "the night shift" in letters[0].error
    assert is_clean
    assert program.handled[A] == [3, 1, 2]


async def test_an_order_that_nobody_has_seen_is_listed_and_obeyed_when_a_worker_starts(site: Site) -> None:
    program = Program()
    following = await ordered(site, What.HOLD, A)
    (before,) = await rows(site)

    site.start(program)
    await site.send(A, 1)
    await site.send(WELL, 1)
    await until(lambda: program.handled[WELL] == [1])
    after = await told(site, A, records=1)

    assert [group for group, _ in following.without_worker] == ["forebay"]
    assert following.open == 1
    assert (before["portal"], before["ordered"], before["reason"], before["records"]) == (A, "hold", None, 0)
    assert (after["ordered"], after["held"]) == (None, True)
    assert program.handled[A] == []


async def test_a_replay_of_a_held_portal_is_told_to_wait(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    program = Program(errors={A: Reject("no stock")})
    await site.send(A, 1)
    site.start(program)
    await site.all_committed()
    program.errors.clear()
    await ordered(site, What.HOLD, A)

    plan = await plan_of(site.settings, new_codec(), "dead", Filter())
    is_clean = await replay_letters(site.settings, plan, None, "")
    row = await told(site, A, records=1)
    await ordered(site, What.RESUME, A)
    await until(lambda: program.handled[A] == [1])

    assert not is_clean
    assert "failed again or is held" in capsys.readouterr().err
    assert row["held"]


async def test_orders_of_another_group_are_nobodys_here(site: Site) -> None:
    shop, statistics = Program(group="forebay"), Program(group="statistics")
    site.start(shop)
    site.start(statistics)

    await ordered(site, What.HOLD, A)
    await site.send(A, 1)
    await until(lambda: statistics.handled[A] == [1])
    row = await told(site, A, records=1)

    assert row["group"] == "forebay"
    assert shop.handled[A] == []
    assert len(await rows(site)) == 1
