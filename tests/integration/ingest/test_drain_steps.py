"""The drain in front of an unreliable queue, one step after the other."""

import asyncio
import errno
from collections.abc import Sequence

import pytest

from forebay.ingest.spool.counts import FULL
from forebay.ingest.spool.kept import Head
from forebay.queues.contract import Record
from forebay.schemas import names
from tests.spool.stores import put
from tests.spool.world import EVENTS, QUARANTINE, World, per_portal

LONG_S = 10


@pytest.mark.parametrize("drains", [True, False], ids=["the drainer dies", "another dies"])
async def test_who_drains_sets_right_what_a_crash_has_left_too_high_while_events_come(
    world: World, drains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No call waits for the little that is left.
    monkeypatch.setattr("forebay.ingest.spool.passage._FEW_RECORDS", 0)
    one, other = await world.start(), await world.start()
    await (one if drains else other).step()
    # It dies between the moment in which all see its record and the one in which it is there.
    await world.crash(one, 0, writes="gone.ru")
    before = other.spool.counts.holds("gone.ru")
    world.broker.mode = "hangs"
    for portal in ("gone.ru", "a.ru"):
        await world.send(portal, other)
    other.passage.detour("late")
    await other.settled()

    await other.step()

    assert before and (other.spool.counts.records, other.spool.counts.holds("gone.ru")) == (2, True)
    await world.heal()
    world.broker.mode = "up"
    direct = await world.send("gone.ru", other)
    assert direct.kept.result() is False


async def test_what_the_counts_do_not_tell_of_is_drained_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.ingest.spool.ahead._ANYWAY_S", 0.0)
    worker = await world.start()
    await worker.step()
    world.broker.mode = "down"
    for portal in ("a.ru", "a.ru", "b.ru"):
        await world.send(portal, worker)
    # As where the files could not be read when they were counted.
    worker.spool.counts.replace(())

    await worker.step()

    assert (worker.spool.counts.records, worker.spool.counts.holds("a.ru")) == (3, True)
    await world.heal()
    assert per_portal(world) == {"a.ru": [0, 1], "b.ru": [2]}


async def test_what_arrives_while_it_is_looked_at_the_counts_is_counted_until_it_is_deleted(world: World) -> None:
    one, worker = await world.start(), await world.start()
    await worker.step()
    world.broker.mode = "down"
    await world.send("a.ru", worker)
    world.broker.mode = "hangs"
    while not worker.producer.pending:
        await worker.step()
    await world.crash(one, 0, writes="gone.ru")
    loop, heads, delete = asyncio.get_running_loop(), worker.spool.store.heads, worker.spool.store.delete
    counted: list[int] = []

    def heads_meanwhile(after: int, limit: int) -> list[Head]:
        loop.call_soon_threadsafe(worker.producer.deliver_all)
        return heads(after, limit)

    def delete_and_count(heads: Sequence[Head]) -> None:
        counted.append(worker.spool.counts.records)
        delete(heads)

    worker.spool.store.heads = heads_meanwhile  # type: ignore[method-assign]
    worker.spool.store.delete = delete_and_count  # type: ignore[method-assign]
    await worker.step()

    assert (counted, worker.spool.counts.records) == ([1], 0)


async def test_an_event_is_kept_while_who_drains_still_reads_what_waits(world: World) -> None:
    worker, waiting = await world.start(), 700
    await worker.spool.run(worker.spool.store.put, [put(number) for number in range(waiting)])
    loop, heads, read, read_before = asyncio.get_running_loop(), worker.spool.store.heads, list[Head](), list[int]()
    record = Record(key="b.ru", value=b"", timestamp_ms=1)

    def heads_meanwhile(after: int, limit: int) -> list[Head]:
        if not read:
            loop.call_soon_threadsafe(worker.spool.put, EVENTS, record, lambda told: read_before.append(len(read)))
        found = heads(after, limit)
        read.extend(found)
        return found

    worker.spool.store.heads = heads_meanwhile  # type: ignore[method-assign]
    await worker.step()
    await worker.settled()

    assert len(read) >= waiting
    assert read_before and read_before[0] < waiting


async def test_what_the_queue_refuses_while_draining_goes_to_quarantine_and_its_neighbours_go_on(world: World) -> None:
    worker = await world.start()
    world.broker.mode = "down"
    for portal in ("a.ru", "a.ru", "b.ru"):
        await world.send(portal, worker)
    world.broker.mode = "refuses"
    while not world.broker.logs[QUARANTINE]:
        await worker.step()

    await world.heal()

    reasons = {dict(record.headers)[names.QUARANTINE_REASON] for record in world.broker.logs[QUARANTINE]}
    everywhere = [int(one.value) for log in world.broker.logs.values() for one in log]
    assert reasons == {b"refused_by_queue"}
    assert sorted(everywhere) == [0, 1, 2]


async def test_of_a_portals_backlog_ever_more_is_under_way_while_the_queue_takes_it(world: World) -> None:
    worker = await world.start()
    world.broker.mode = "down"
    calls = [await world.send("a.ru", worker) for _ in range(20)]
    world.broker.mode = "late"

    under_way = []
    while worker.spool.counts.records:
        await worker.step()
        under_way.append(len(worker.producer.pending))
        worker.producer.deliver_all()

    assert under_way[:5] == [1, 2, 4, 8, 5]
    assert all(call.kept.result() for call in calls)
    assert per_portal(world) == {"a.ru": list(range(20))}


async def test_what_is_under_way_behind_a_record_that_fails_goes_again_behind_it(world: World) -> None:
    worker = await world.start()
    world.broker.mode = "down"
    for _ in range(12):
        await world.send("a.ru", worker)
    world.broker.mode = "hangs"
    for _ in range(2):
        await worker.step()
        worker.producer.deliver_all()
    await worker.step()
    first, second, *_ = worker.producer.pending
    worker.producer.deliver(first)
    worker.producer.fail(second)
    await worker.step()
    sent_before_all_had_come_back = len(worker.producer.pending)
    world.broker.mode = "up"

    await world.heal()

    assert sent_before_all_had_come_back == 0
    assert per_portal(world) == {"a.ru": list(range(12))}


async def test_what_is_being_read_when_a_record_before_it_fails_goes_behind_it(world: World) -> None:
    worker = await world.start()
    world.broker.mode = "down"
    for _ in range(12):
        await world.send("a.ru", worker)
    world.broker.mode = "hangs"
    await worker.step()
    worker.producer.deliver_all()
    await worker.step()
    first, second = worker.producer.pending
    worker.producer.deliver(first)
    worker.meanwhile = [lambda: worker.producer.fail(second)]

    await worker.step()
    sent_before_it_went_again = len(worker.producer.pending)
    await world.heal()

    assert sent_before_it_went_again == 0
    assert per_portal(world) == {"a.ru": list(range(12))}


async def test_a_disk_that_errs_while_a_part_of_the_queue_hangs_stops_and_doubles_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.ingest.spool.drain._AGAIN_S", 0.0)
    monkeypatch.setattr("forebay.ingest.spool.pauses._LONGEST_S", 0.0)
    worker = await world.start()
    world.broker.mode = "down"
    await world.send("stuck.ru", worker)
    world.broker.mode = "hangs"
    await worker.step()
    world.broker.mode = "down"
    for _ in range(3):
        await world.send("well.ru", worker)
    world.broker.mode = "hangs"
    delete, errors = worker.spool.store.delete, [OSError(errno.EMFILE, "no file left to open")] * 3

    def delete_at_last(heads: Sequence[Head]) -> None:
        if errors:
            raise errors.pop()
        delete(heads)

    worker.spool.store.delete = delete_at_last  # type: ignore[method-assign]

    worker.drain.start()
    async with asyncio.timeout(LONG_S):
        while worker.spool.counts.records > 1:
            for sent in [one for one in worker.producer.pending if one.record.key == "well.ru"]:
                worker.producer.deliver(sent)
            await asyncio.sleep(0.001)
    worker.drain.stop()

    assert per_portal(world) == {"well.ru": [1, 2, 3]}
    await world.heal()
    world.judge()


async def test_a_part_of_the_queue_that_takes_nothing_leaves_room_for_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.ingest.spool.window.MOST", 16)
    monkeypatch.setattr("forebay.ingest.spool.window._TRY_S", 0)
    world.part_of = lambda portal: portal[0]
    worker = await world.start()
    world.broker.mode = "down"
    for number in range(60):
        await world.send("well.ru" if number % 3 else f"stuck-{number}.ru", worker)
    world.broker.mode = "hangs"

    for _ in range(200):
        await worker.step()
        for sent in [one for one in worker.producer.pending if one.record.key == "well.ru"]:
            worker.producer.deliver(sent)

    assert len(per_portal(world)["well.ru"]) == 40
    world.broker.mode = "up"
    await world.heal()
    world.judge()


async def test_portals_of_which_the_queue_takes_nothing_hold_nobody_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.ingest.spool.window.MOST", 40)
    monkeypatch.setattr("forebay.ingest.spool.window._TRY_S", 0)
    worker = await world.start()
    world.broker.mode = "down"
    for number in range(300):
        await world.send(f"{'stuck' if number % 3 else 'well'}-{number % 36}.ru", worker)
    world.broker.mode = "hangs"

    for _ in range(200):
        await worker.step()
        for sent in [one for one in worker.producer.pending if one.record.key.startswith("well")]:
            worker.producer.deliver(sent)

    assert sum(len(numbers) for numbers in per_portal(world).values()) == 100
    world.broker.mode = "up"
    await world.heal()
    world.judge()


async def test_what_is_read_of_a_large_backlog_is_sent_before_the_rest_is_read(world: World) -> None:
    worker, waiting = await world.start(), 2000
    lots = [put(number, f"{number}.ru") for number in range(waiting)]
    await worker.spool.run(worker.spool.store.put, lots)

    await worker.step()

    sent = worker.drain.sent
    assert sent > 0
    assert len(worker.drain._lanes) + sent < waiting
    while worker.drain.sent < waiting:
        await worker.step()
    assert [int(one.value) for one in world.broker.logs[EVENTS]] == [*range(waiting)]


async def test_while_the_queue_takes_nothing_who_drains_reads_no_more_of_a_backlog_than_it_tries(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.ingest.spool.window._TRY_S", 0)
    worker, hot, waiting = await world.start(), 400, 2000
    world.part_of = lambda portal: portal
    lots = [put(number, f"{0 if number < hot else number}.ru") for number in range(waiting)]
    await worker.spool.run(worker.spool.store.put, lots)
    worker.passage.detour("late")
    world.broker.mode = "hangs"

    for _ in range(3):
        await worker.step()
    known = len(worker.drain._lanes)
    tried = {sent.record.key for sent in worker.producer.pending}

    assert known < waiting
    assert len(tried) > 1, "the first portal has more than is read at once, and its part of the queue hangs"
    world.broker.mode = "up"
    await world.heal()
    assert sorted(int(one.value) for one in world.broker.logs[EVENTS]) == [*range(waiting)]


async def test_what_became_of_a_record_is_remembered_only_until_it_has_left(world: World) -> None:
    one, other = await world.start(), await world.start()
    await other.step()
    for _ in range(3):
        world.broker.mode = "hangs"
        for portal in ("a.ru", "b.ru"):
            await world.send(portal, one)
        one.passage.detour("late")
        await one.settled()
        await other.step()
        one.producer.deliver_all()
        await world.heal()

    owners = other.drain._owners
    assert other.drain.sent == 6 and one.spool.store.owner.name in owners._told
    assert not any(owners._told.values())


async def test_who_drains_finds_out_that_the_disk_takes_something_again(world: World) -> None:
    worker = await world.start()
    worker.spool.counts.state = FULL

    await worker.step()

    assert worker.spool.why_not == ""
