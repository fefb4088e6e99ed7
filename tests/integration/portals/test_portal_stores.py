"""The contract of the stores of facts about portals, in every system."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
import pytest

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.portals.contract import Fact, PlacedFact, PortalStore
from forebay.queues.portals.following import Following
from forebay.queues.settings import QueueSettings
from tests.integration.portals.conftest import opened
from tests.redis.server import direct

PATIENCE_S = 20.0

SESSIONS_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()
"""


async def read_all(store: PortalStore) -> list[PlacedFact]:
    found: list[PlacedFact] = []
    following, is_end = 0, False
    while not is_end:
        chapter = await store.read(following, 0.2)
        found += chapter.facts
        following, is_end = chapter.following, chapter.is_end
    return found


async def read_some(store: PortalStore, following: int) -> list[PlacedFact]:
    """What stands there, however long it takes to come."""
    while not (found := (await store.read(following, PATIENCE_S)).facts):
        pass
    return found


def told(found: list[PlacedFact]) -> dict[str, bytes | None]:
    return {fact.key: fact.value for fact in found}


async def test_what_is_missing_is_told_then_made_then_not_missing(settings: QueueSettings) -> None:
    async with opened(settings) as store:
        planned = await store.ensure(only_plan=True)
        made = await store.ensure()

        assert planned == made
        assert any("events.portals" in sentence for sentence in made)
        assert await store.ensure(only_plan=True) == await store.ensure() == []


async def test_a_store_that_is_not_made_yet_says_so(settings: QueueSettings) -> None:
    async with opened(settings) as store:
        with pytest.raises(QueueError):
            await store.end()
        with pytest.raises(QueueError):
            await store.put([Fact("a", b"1")])


async def test_facts_are_read_in_the_order_in_which_they_were_put(store: PortalStore) -> None:
    await store.put([Fact("a", b"1"), Fact("b", b"\x00\xff")])
    last = await store.put([Fact("c", b"3")])

    found = await read_all(store)

    assert [(fact.key, fact.value) for fact in found] == [("a", b"1"), ("b", b"\x00\xff"), ("c", b"3")]
    assert [fact.offset for fact in found] == sorted(fact.offset for fact in found)
    assert found[-1].offset == last == await store.end() - 1


async def test_the_last_fact_of_a_key_holds_and_stands_last(store: PortalStore) -> None:
    await store.put([Fact("a", b"1"), Fact("b", b"2")])
    await store.put([Fact("a", b"3")])

    found = await read_all(store)

    assert told(found) == {"a": b"3", "b": b"2"}
    assert found[-1].key == "a"


async def test_what_is_taken_back_is_told_as_such(store: PortalStore) -> None:
    await store.put([Fact("a", b"1"), Fact("b", b"2")])
    known = await read_all(store)

    await store.put([Fact("a", None)])

    assert told(await read_some(store, known[-1].offset + 1)) == {"a": None}
    assert told(await read_all(store)).get("a") is None


async def test_an_empty_store_is_read_to_its_end(store: PortalStore) -> None:
    chapter = await store.read(0, 0.2)

    assert chapter.is_end
    assert chapter.facts == []
    assert await store.end() == 0


async def test_a_reader_who_waits_gets_what_another_host_writes(settings: QueueSettings, store: PortalStore) -> None:
    async with opened(settings) as other:
        following = (await store.read(0, 0.2)).following
        await other.put([Fact("a", b"1")])

        assert told(await read_some(store, following)) == {"a": b"1"}


@pytest.fixture
def set_back(settings: QueueSettings, request: pytest.FixtureRequest) -> Callable[[], None]:
    """Let the store be what it was at the first call, as when a copy that was behind takes over."""
    if settings.queue_url.startswith("redis"):
        return partial(_set_back_redis, settings.queue_url, dict[bytes, bytes]())
    if settings.queue_url.startswith("postgresql"):
        return partial(_set_back_postgresql, settings.queue_url, list[int]())
    return partial(_set_back_sqlite, settings.data_dir)


def _set_back_redis(url: str, kept: dict[bytes, bytes]) -> None:
    with direct(url) as client:
        if not kept:
            kept.update({key: client.dump(key) for key in client.scan_iter("*.portals*")})
            return
        client.flushdb()
        for key, dump in kept.items():
            client.restore(key, 0, dump)
        client.client_kill_filter(_type="normal", skipme=True)


def _set_back_postgresql(url: str, kept: list[int]) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        [(end,)] = admin.execute('SELECT max("offset") FROM forebay_portal')
        if not kept:
            kept.append(end)
            return
        admin.execute('DELETE FROM forebay_portal WHERE "offset" > %s', kept)
        [(counter,)] = admin.execute("SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL")
        admin.execute("SELECT setval(%s, %s)", (counter, kept[0]))
        admin.execute(SESSIONS_END)


def _set_back_sqlite(folder: Path) -> None:
    backup = folder / "backup"
    if not backup.exists():
        with closing(sqlite3.connect(folder / "queue.db")) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        return
    for old in folder.glob("queue.db*"):
        old.unlink()
    shutil.copy(backup, folder / "queue.db")


@pytest.mark.parametrize("settings", ["sqlite", "postgresql", "redis"], indirect=True)
@pytest.mark.parametrize("new", [1, 2], ids=["fewer", "as many"])
async def test_who_has_read_further_than_a_store_that_was_set_back_reads_it_anew(
    settings: QueueSettings, store: PortalStore, set_back: Callable[[], None], new: int
) -> None:
    await store.put([Fact("a", b"1")])
    set_back()
    await store.put([Fact("b", b"2"), Fact("c", b"3")])
    following = (await store.read(0, PATIENCE_S)).following

    set_back()
    async with opened(settings) as other:
        await other.put([Fact(f"new {number}", b"4") for number in range(new)])
    with pytest.raises(QueueUnavailable):
        await store.read(following, 0.2)

    assert told(await read_all(store)) == {"a": b"1"} | {f"new {number}": b"4" for number in range(new)}


async def test_writers_of_many_hosts_leave_one_order(settings: QueueSettings, store: PortalStore) -> None:
    async with opened(settings) as other:
        await asyncio.gather(
            *((store, other)[number % 2].put([Fact(f"key{number}", b"x"), Fact("same", b"x")]) for number in range(40))
        )

        mine, theirs = await read_all(store), await read_all(other)

    assert mine[-1].key == "same"
    assert mine == theirs
    assert len(told(mine)) == 41


async def test_more_facts_than_a_chapter_holds_are_all_read(store: PortalStore) -> None:
    await store.put([Fact(f"key{number}", b"x" * 100) for number in range(6_000)])

    assert len(await read_all(store)) == 6_000


async def write_on(store: PortalStore) -> None:
    while True:
        await store.put([Fact("a", b"1")])
        # As portals are proved. Who waits for more at the end of Kafka's log gets this, and hears of no end.
        await asyncio.sleep(0.02)


async def test_who_begins_while_others_write_without_a_pause_knows_what_stood_there(settings: QueueSettings) -> None:
    async with opened(settings) as store, opened(settings) as read:
        await store.ensure()
        writing = asyncio.create_task(write_on(store))
        await read_some(store, 0)
        following = Following(read)
        following.open()

        await following.reached(-1, PATIENCE_S)

        await following.close()
        writing.cancel()
        await asyncio.wait([writing])
