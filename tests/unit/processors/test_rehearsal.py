"""Handlers rehearsed over hours and restarts, by the means that users have."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from forebay import Handlers, PortalEvent, Reject, Retry
from forebay.processors.testing import Rehearsal, event
from forebay.queues.bad_settings import BadSettings

DAY_S = 86_400.0


def deal(number: int, portal: str = "p.bitrix24.com", id: str | None = None) -> PortalEvent:
    return event("ONCRMDEALADD", data={"FIELDS": {"ID": number}}, portal=portal, id=id)


def number_of(event: PortalEvent) -> int:
    data: Any = event.data
    return int(data["FIELDS"]["ID"])


CALLS: list[list[int]] = []


def many(events: list[PortalEvent]) -> None:
    CALLS.append([number_of(event) for event in events])


def test_a_failing_portal_is_tried_again_for_hours_while_the_others_go_on() -> None:
    handlers, done, is_down = Handlers(), [], [True]

    @handlers.on("ONCRM*")
    async def handle(event: PortalEvent) -> None:
        if event.portal.startswith("ill") and is_down[0]:
            raise ConnectionError("the portal's API is down")
        done.append((event.portal, number_of(event)))

    with Rehearsal(handlers) as rehearsal:
        began = rehearsal.now
        rehearsal.send(*(deal(number, portal) for number in range(3) for portal in ("ill", "well")))
        rehearsal.let(3600)
        assert done == [("well", number) for number in range(3)]
        assert rehearsal.waiting == 3
        is_down[0] = False
        rehearsal.let(3600)

        assert done[3:] == [("ill", number) for number in range(3)]
        assert (rehearsal.waiting, rehearsal.dead) == (0, [])
        assert rehearsal.now - began == timedelta(hours=2)


def test_what_is_given_up_is_a_dead_letter_with_its_event() -> None:
    handlers = Handlers()

    @handlers.on("ONCRMDEALADD", tries=4)
    def handle(event: PortalEvent) -> None:
        if number_of(event) == 1:
            raise Reject("no such deal")
        raise LookupError("never")

    with Rehearsal(handlers) as rehearsal:
        rehearsal.send(deal(1), deal(2))
        rehearsal.let(DAY_S)

        assert [(number_of(one.event), one.attempts, one.error) for one in rehearsal.dead] == [
            (1, 1, "no such deal"),
            (2, 4, "never"),
        ]
        assert rehearsal.dead[1].error_class == "LookupError"


def test_an_event_waits_for_days_to_the_second_and_over_restarts_and_deaths() -> None:
    handlers, tries = Handlers(), []

    @handlers.on("ONCRMDEALADD")
    async def remind(event: PortalEvent) -> None:
        tries.append((number_of(event), rehearsal.now))
        if len(tries) == 1:
            raise Retry("in five days", after_s=5 * DAY_S)

    with Rehearsal(handlers) as rehearsal:
        rehearsal.send(deal(1), deal(2))
        rehearsal.let(60)
        for _ in range(2):
            rehearsal.let(DAY_S)
            rehearsal.restart()
            rehearsal.let(DAY_S / 2)
            rehearsal.crash()
        assert [number for number, _ in tries] == [1]
        assert rehearsal.waiting == 2
        rehearsal.let(5 * DAY_S)

        assert [number for number, _ in tries] == [1, 1, 2]
        waited_s = (tries[1][1] - tries[0][1]).total_seconds()
        # What is read again takes a moment.
        assert 5 * DAY_S <= waited_s < 5 * DAY_S + 10
        assert rehearsal.waiting == 0


def test_no_wait_is_longer_than_its_setting() -> None:
    handlers, tries = Handlers(), []

    @handlers.on("ONCRMDEALADD")
    async def remind(event: PortalEvent) -> None:
        tries.append(rehearsal.now)
        if len(tries) == 1:
            raise Retry("in a year", after_s=365 * DAY_S)

    with Rehearsal(handlers, retry_after_max_s=2 * DAY_S) as rehearsal:
        rehearsal.send(deal(1))
        rehearsal.let(3 * DAY_S)

        assert 2 * DAY_S <= (tries[1] - tries[0]).total_seconds() < 2 * DAY_S + 10


def test_after_a_death_what_was_not_committed_comes_again_unless_dedup_knows_it() -> None:
    handlers, done, known = Handlers(), [], []

    @handlers.on("ONCRMDEALADD")
    async def handle(event: PortalEvent) -> None:
        done.append(number_of(event))

    @handlers.on("ONCRMDEALUPDATE", dedup="id")
    async def once(event: PortalEvent) -> None:
        known.append(event.id)

    with Rehearsal(handlers, commit_interval_s=3600) as rehearsal:
        rehearsal.send(deal(1, id="1"), event("ONCRMDEALUPDATE", portal="p.bitrix24.com", id="2"))
        rehearsal.let(1)
        rehearsal.crash()
        rehearsal.let(10)

    assert done == [1, 1]
    assert known == ["2"]


def test_the_options_work_as_in_a_worker() -> None:
    handlers, calls = Handlers(), CALLS
    handlers.on("ONCRMDEALADD", batch=10, cpu=True)(many)

    @handlers.on("ONCRMDEALADD", group="audit", rate="1/s")
    async def slowly(event: PortalEvent) -> None:
        await asyncio.sleep(0.5)
        calls.append([number_of(event)])

    with Rehearsal(handlers) as rehearsal:
        rehearsal.send(*(deal(number) for number in range(5)))
        rehearsal.let(5)
    assert calls == [[0, 1, 2, 3, 4]]
    calls.clear()
    with Rehearsal(handlers, group="audit") as rehearsal:
        rehearsal.send(*(deal(number) for number in range(5)))
        rehearsal.let(2.9)
    assert calls == [[0], [1], [2]]


async def test_inside_a_loop_it_says_that_it_needs_a_plain_test() -> None:
    with pytest.raises(RuntimeError, match="not `async`"):
        Rehearsal(Handlers()).__enter__()


def test_a_setting_that_there_is_not_is_told_as_one() -> None:
    with pytest.raises(BadSettings) as refused:
        Rehearsal(Handlers(), triez=3, drain_s=-1)

    assert refused.value.faults == [
        "drain_s: Input should be greater than or equal to 0",
        "triez: there is no such setting; did you mean tries?",
    ]


def test_handlers_that_are_partials_of_two_functions_are_two_for_dedup() -> None:
    done: list[str] = []

    def add(shop: str, event: PortalEvent) -> None:
        done.append(f"added in {shop}")

    def update(shop: str, event: PortalEvent) -> None:
        done.append(f"updated in {shop}")

    handlers = Handlers()
    handlers.on("ONCRMDEALADD", dedup=deal_of)(partial(add, "shop"))
    handlers.on("ONCRMDEALUPDATE", dedup=deal_of)(partial(update, "shop"))
    with Rehearsal(handlers) as rehearsal:
        for name in ("ONCRMDEALADD", "ONCRMDEALUPDATE", "ONCRMDEALADD"):
            rehearsal.send(event(name, data={"FIELDS": {"ID": 7}}, received_at=rehearsal.now))
        rehearsal.let(60)

    assert done == ["added in shop", "updated in shop"]


def deal_of(event: PortalEvent) -> str:
    return str(number_of(event))
