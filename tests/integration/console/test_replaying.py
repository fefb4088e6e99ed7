"""Operators replay what died, or a span of what was handled, while a real worker works."""

import asyncio
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from forebay import Reject
from forebay.console.letters.letters import Filter
from forebay.console.letters.resolving import open_rows, plan_of, replay_letters
from forebay.console.orders.following import Following
from forebay.console.orders.replay_search import Found, Search, Span
from forebay.console.orders.replaying import Replay, follow
from forebay.console.orders.writer import Pace, order_writer
from forebay.console.reading import inspected
from forebay.console.stopping import Stop
from forebay.processors.testing import event
from forebay.queues import reading
from forebay.queues.contract import Record
from forebay.schemas import names
from forebay.schemas.codec import codec, new_codec
from tests.waiting import until

from .site import YESTERDAY_MS, Program, Site

A, B, C, WELL = (f"{name}.bitrix24.example" for name in ("a", "b", "c", "well"))
YESTERDAY = datetime.fromtimestamp(YESTERDAY_MS / 1000, UTC)


async def letters_of_a_bad_night(site: Site, program: Program) -> None:
    """Three portals whose events died of several errors in two handlers, and one that was well."""
    program.errors = {A: Reject("no stock"), B: ConnectionError("the shop is down"), C: Reject("no stock")}
    for number in (1, 2, 3):
        await site.send(A, number)
        await site.send(B, number)
        await site.send(C, number, name="ONTASKADD")
        await site.send(WELL, number)
    site.start(program)
    await site.all_committed()
    async with asyncio.timeout(30):
        while len(await site.dead()) < 9:
            await asyncio.sleep(0.02)
    program.errors.clear()


async def replayed(site: Site, wanted: Filter, rate: float | None = None) -> bool:
    plan = await plan_of(site.settings, new_codec(), "dead", wanted)
    return await replay_letters(site.settings, plan, rate, "the shop is back")


async def test_dead_letters_are_replayed_by_filter_and_nothing_else_is_touched(site: Site) -> None:
    program = Program()
    await letters_of_a_bad_night(site, program)
    calls = program.calls

    is_clean = await replayed(site, Filter(error="no stock", event="ONCRM*"))

    assert is_clean
    assert program.handled == {WELL: [1, 2, 3], A: [1, 2, 3]}
    assert program.calls == calls + 3
    assert sorted({letter.record.key for letter in await site.dead()}) == [B, C]


async def test_all_of_them_are_handled_once_and_in_order(site: Site) -> None:
    program = Program()
    await letters_of_a_bad_night(site, program)
    calls = program.calls

    is_clean = await replayed(site, Filter())

    assert is_clean
    assert program.handled == {portal: [1, 2, 3] for portal in (WELL, A, B, C)}
    assert program.calls == calls + 9
    assert await site.dead() == []
    assert len(await site.records(site.settings.topic)) == 12


async def test_an_id_that_no_letter_has_is_told_and_the_others_are_replayed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    program = Program()
    await letters_of_a_bad_night(site, program)
    there, *_ = await site.dead(Filter(portal=A))

    is_clean = await replayed(site, Filter(ids=(there.id, "typed-wrong")))

    assert is_clean
    assert "has the id typed-wrong: forebay dead list" in capsys.readouterr().err
    assert len(await site.dead()) == 8


async def test_they_come_ahead_of_the_newer_events_of_their_portal(site: Site) -> None:
    program = Program(errors={(A, 1): Reject("no"), (A, 3): Reject("no")})
    await site.send(A, 1, 2, 3)
    worker = site.start(program)
    await site.all_committed()
    await until(lambda: program.handled[A] == [2])
    await site.stop(worker)
    program.errors.clear()
    plan = await plan_of(site.settings, new_codec(), "dead", Filter())
    await replay_letters(site.settings, plan, None, "ordered while nobody works")
    await site.send(A, 4, 5)

    site.start(program)
    await until(lambda: len(program.handled[A]) == 5)

    assert program.handled[A] == [2, 1, 3, 4, 5]


async def test_what_dies_again_is_told_and_is_a_letter_again(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    program = Program()
    await letters_of_a_bad_night(site, program)
    program.errors = {(A, 2): Reject("still no stock")}

    is_clean = await replayed(site, Filter(portal=A))

    assert not is_clean
    assert "1 event died again" in capsys.readouterr().err
    assert [letter.error for letter in await site.dead(Filter(portal=A))] == ["still no stock"]
    assert program.handled[A] == [1, 3]


async def test_what_died_again_is_replayed_in_the_order_of_the_topic(site: Site) -> None:
    program = Program()
    await letters_of_a_bad_night(site, program)
    first = [letter.id for letter in await site.dead(Filter(portal=A))][:1]
    program.errors = {(A, 1): Reject("still no stock")}
    await replayed(site, Filter(ids=tuple(first)))
    program.errors.clear()

    await replayed(site, Filter(portal=A))

    assert program.handled[A] == [1, 2, 3]


async def test_a_portal_that_fails_again_is_told_and_waited_for_no_longer(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    program = Program(errors={A: Reject("no stock")})
    await site.send(A, 1)
    site.start(program, tries=30, memory_tries=1)
    await site.all_committed()
    program.errors = {A: ConnectionError("and now the shop is down")}

    is_clean = await replayed(site, Filter())

    assert not is_clean
    assert "1 portal failed again or is held" in capsys.readouterr().err


async def test_a_replay_that_was_stopped_goes_on_with_the_rest(site: Site) -> None:
    program = Program()
    await letters_of_a_bad_night(site, program)
    calls = program.calls
    plan = await plan_of(site.settings, new_codec(), "dead", Filter())
    stop = Stop()
    result = Replay(plan=plan, following=Following(inspector=site.queue.inspector(), topic=site.settings.topic))

    async with order_writer(site.queue, site.settings.topic, "first half") as given:
        # A portal has three letters, so the second one's turn would come in an hour: it is stopped before.
        pace = Pace(rate=3 / 3600, stop=stop)
        await follow(result, given, pace, lambda done: stop.ask() if done >= 3 else None)
    first = dict(program.handled)
    sentences = list(result.told())
    is_clean = await replayed(site, Filter())

    assert len(first) == 2, "the one that was well, and the one that was ordered"
    assert "3 of 3 records of 1 portal handled" in sentences
    assert "stopped: 6 records of 2 portals not ordered; run the same again, and it goes on with these" in sentences
    assert is_clean
    assert program.handled == {portal: [1, 2, 3] for portal in (WELL, A, B, C)}
    assert program.calls == calls + 9


async def test_two_operators_at_once_replay_nothing_twice(site: Site) -> None:
    program = Program()
    await letters_of_a_bad_night(site, program)
    calls = program.calls
    plans = [await plan_of(site.settings, new_codec(), "dead", Filter()) for _ in range(2)]

    for plan in plans:
        await replay_letters(site.settings, plan, None, "")

    assert program.calls == calls + 9


async def test_nothing_is_waited_for_where_no_worker_runs(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    program = Program(errors={A: Reject("no stock")})
    await site.send(A, 1)
    worker = site.start(program)
    await site.all_committed()
    await site.stop(worker)

    is_clean = await replayed(site, Filter())

    assert is_clean
    assert "no worker of group forebay has partitions" in capsys.readouterr().err
    assert await site.dead() == []


async def found(site: Site, group: str, again: bool = False, **span: object) -> Found:
    """What of the span a replay would name."""
    meant: dict[str, object] = {"since": YESTERDAY, "until": YESTERDAY + timedelta(hours=1), **span}
    async with inspected(site.queue) as inspector:
        search = Search(
            inspector=inspector,
            codec=new_codec(),
            topic=site.settings.topic,
            group=group,
            span=Span(**meant),  # type: ignore[arg-type]  # checked by the dataclass
            again=again,
        )
        return await search.run()


async def replay_span(site: Site, given: Found) -> Replay:
    async with inspected(site.queue) as inspector, order_writer(site.queue, site.settings.topic, "again") as ordering:
        result = Replay(plan=given.plan, following=Following(inspector=inspector, topic=site.settings.topic))
        await follow(result, ordering, Pace(rate=None, stop=Stop()), lambda done: None, given.since)
    return result


async def test_a_span_is_replayed_to_one_group_and_another_sees_nothing_of_it(site: Site) -> None:
    shop, statistics = Program(group="shop"), Program(group="statistics")
    await site.send(A, 1, 2, 3, 4)
    await site.send(B, 5)
    await site.send(A, 6, name="ONTASKADD")
    for program in (shop, statistics):
        site.start(program)
        await site.all_committed(program.group)
    before = statistics.calls
    shop.forget()

    since, until_ = YESTERDAY + timedelta(seconds=2), YESTERDAY + timedelta(seconds=4)
    narrow = await found(site, "shop", since=since, until=until_)
    first = await replay_span(site, narrow)
    crm = await found(site, "shop", event="ONCRM*", portal=A)
    await replay_span(site, crm)

    assert first.is_clean
    assert shop.handled == {A: [2, 3, 1, 4]}
    assert (crm.ordered_before, len(crm.plan)) == (2, 1)
    assert statistics.calls == before


async def test_a_span_that_is_run_again_names_only_what_was_not_named(site: Site) -> None:
    program = Program()
    await site.send(A, 1, 2)
    site.start(program)
    await site.all_committed()
    await replay_span(site, await found(site, "forebay"))

    second, again = await found(site, "forebay"), await found(site, "forebay", again=True)

    assert (len(second.plan), second.ordered_before) == (0, 2)
    assert second.earlier.latest is not None
    assert second.earlier.latest.why == "again"
    assert [list(planned.offsets) for planned in again.plan] == [[0, 1]]


async def test_what_a_group_has_not_finished_is_left_to_come_by_itself(site: Site) -> None:
    program = Program(errors={(A, 2): ConnectionError("the shop is down")})
    await site.send(A, 1, 2, 3)
    await site.send(B, 1)
    worker = site.start(program, tries=30, memory_tries=1)
    await site.all_committed()
    await site.stop(worker)
    await site.send(B, 2)

    parked = await found(site, "forebay")
    nobody = await found(site, "another")

    assert {planned.portal: len(planned.offsets) for planned in parked.plan} == {A: 1, B: 1}
    assert parked.to_come == 3
    assert (nobody.plan, nobody.to_come) == ([], 5)


async def test_an_event_that_came_out_of_a_spool_late_is_of_its_span(site: Site) -> None:
    program = Program()
    await site.send(A, 1)
    await site.send(A, 2, at_ms=YESTERDAY_MS + 7_200_000)
    await site.send(A, 3, at_ms=YESTERDAY_MS + 2_000)
    site.start(program)
    await site.all_committed()

    (planned,) = (await found(site, "forebay")).plan

    assert list(planned.offsets) == [(await site.records(site.settings.topic))[0].offset + at for at in (0, 2)]


async def test_orders_stand_in_the_audit_stream_with_who_and_why(site: Site) -> None:
    program = Program()
    await letters_of_a_bad_night(site, program)

    await replayed(site, Filter(portal=A))

    (order,) = await site.records(names.audit(site.settings.topic))
    assert b'"why":"the shop is back"' in order.value
    assert b"@" in order.value


async def test_a_list_holds_no_more_letters_in_memory_than_are_read_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_RECORDS", 10)
    letter = Record(key=A, value=codec().encode(event("ONX", data={"X": "x" * 10_000}, portal=A)), timestamp_ms=1)
    await asyncio.gather(*(site.producer.send(names.dead(site.settings.topic), letter) for _ in range(3000)))

    tracemalloc.start()
    rows = await open_rows(site.settings, new_codec(), "dead", Filter())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(rows) == 3000
    assert peak < 15_000_000 < 3000 * 10_000
