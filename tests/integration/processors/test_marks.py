"""Marks in a database: SQLite and PostgreSQL keep the same."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from threading import Event, current_thread, main_thread
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from forebay.processors.dedup import table
from forebay.processors.dedup.database import MarksInDatabase
from forebay.processors.dedup.keys import Key
from forebay.processors.dedup.table import mark
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.sql.database import Database
from forebay.queues.sql.opening import open_database
from forebay.schemas.portal import normal_form
from tests.databases.server import DatabaseServer
from tests.integration.queue_faults.relay import relayed
from tests.integration.queue_faults.systems import SYSTEMS

NOW_S = 1_700_000_000.0
NOW_MS = int(NOW_S * 1000)
WINDOW_MS = 60_000


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        return open_database(f"sqlite:///{tmp_path}/folder/dedup.db")
    return open_database(request.getfixturevalue("postgresql_url"))


@pytest.fixture
async def marks(database: Database) -> AsyncIterator[MarksInDatabase]:
    made = MarksInDatabase(database, now=lambda: NOW_S)
    yield made
    await made.close()


def key(name: str = "a", portal: str = "p", received_ms: int = NOW_MS, reader: str = "r") -> Key:
    digest = f"{portal} {name}".encode().ljust(16)
    return Key(portal=portal, reader=reader.encode(), digest=digest, received_ms=received_ms, window_ms=WINDOW_MS)


def rows(database: Database) -> int:
    with database.connect() as connection:
        return connection.execute(select(func.count()).select_from(mark)).scalar_one()


async def test_what_is_marked_is_seen_by_all_who_share_the_database(marks: MarksInDatabase, database: Database) -> None:
    other = MarksInDatabase(database)
    assert not await marks.seen(key())

    await marks.mark(key())
    await marks.mark(key())

    assert await other.seen(key())
    assert not await other.seen(key(portal="q"))
    assert not await other.seen(key("b"))
    await other.close()


async def test_the_longest_name_of_a_portal_keeps_nobody_s_mark_from_being_kept(marks: MarksInDatabase) -> None:
    longest = key(portal=normal_form(".".join(["a" * 63] * 3 + ["b" * 61]) + ":65535"))

    await asyncio.gather(marks.mark(longest), marks.mark(key()))

    assert await marks.seen(longest, key())


async def test_the_window_is_between_the_times_of_receipt(marks: MarksInDatabase) -> None:
    await marks.mark(key())

    assert await marks.seen(key(received_ms=NOW_MS + WINDOW_MS))
    assert await marks.seen(key(received_ms=NOW_MS - WINDOW_MS))
    assert not await marks.seen(key(received_ms=NOW_MS + WINDOW_MS + 1))
    assert not await marks.seen(key(received_ms=NOW_MS - WINDOW_MS - 1))


async def test_an_older_event_that_is_handled_late_doesn_t_take_the_newer_one_s_mark(marks: MarksInDatabase) -> None:
    await marks.mark(key())
    await marks.mark(key(received_ms=NOW_MS - 10 * WINDOW_MS))

    assert await marks.seen(key(received_ms=NOW_MS + WINDOW_MS))


async def test_many_at_once_go_together(marks: MarksInDatabase, database: Database) -> None:
    keys = [key(str(number), f"p{number % 7}") for number in range(2000)]

    await asyncio.gather(*(marks.mark(one) for one in keys))

    assert all(await asyncio.gather(*(marks.seen(one) for one in keys)))
    assert not any(await asyncio.gather(*(marks.seen(key(f"no {number}")) for number in range(600))))
    assert rows(database) == 2000


async def test_many_of_one_call_are_marked_together_and_seen_only_when_all_are(
    marks: MarksInDatabase, database: Database
) -> None:
    keys = [key(str(number)) for number in range(40_000)]

    await marks.mark(*keys)

    assert await marks.seen(*keys)
    assert not await marks.seen(*keys, key("no"))
    assert rows(database) == 40_000


async def test_of_events_with_the_same_key_the_newest_is_remembered_whichever_is_told_first(
    marks: MarksInDatabase,
) -> None:
    await marks.mark(key(), key(received_ms=NOW_MS - WINDOW_MS))

    assert await marks.seen(key(received_ms=NOW_MS + WINDOW_MS))


async def test_a_group_clears_away_the_marks_of_a_portal_as_it_goes_on_with_it_and_no_others(
    marks: MarksInDatabase, database: Database
) -> None:
    await marks.mark(key("old"))
    await marks.mark(key("other", "q"))
    await marks.mark(key("another's", reader="s"))

    await marks.mark(key("new", received_ms=NOW_MS + WINDOW_MS))
    assert rows(database) == 4
    await marks.mark(key("newer", received_ms=NOW_MS + WINDOW_MS + 1))

    assert rows(database) == 4
    assert not await marks.seen(key("old"))
    assert await marks.seen(key("other", "q"))
    assert await marks.seen(key("another's", reader="s"))


async def test_a_portal_that_never_came_again_is_cleared_away_after_a_season(database: Database) -> None:
    now = [NOW_S]
    marks = MarksInDatabase(database, now=lambda: now[0])
    await marks.mark(key("gone", "q"))

    now[0] += 91 * 86_400
    await marks.mark(key("here"))

    assert not await marks.seen(key("gone", "q"))
    assert await marks.seen(key("here"))
    await marks.close()


async def test_a_file_that_was_deleted_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "dedup.db"
    marks = MarksInDatabase(open_database(f"sqlite:///{path}"))
    await marks.mark(key())
    for file in tmp_path.iterdir():
        file.unlink()

    answers = [await answer(marks) for _ in range(3)]

    assert answers[-1] is False
    await marks.close()


async def answer(marks: MarksInDatabase) -> Any:
    try:
        return await marks.seen(key())
    except QueueUnavailable as error:
        return error


async def test_a_folder_that_can_t_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    marks = MarksInDatabase(open_database(f"sqlite:///{tmp_path}/file/dedup.db"))

    with pytest.raises(QueueUnavailable, match="look at data_dir and dedup_url"):
        await marks.seen(key())

    await marks.close()


async def test_a_table_that_another_version_made_is_told_until_it_is_gone(
    marks: MarksInDatabase, database: Database
) -> None:
    database.create()
    with database.connect() as connection:
        kind = "bytea" if connection.dialect.name == "postgresql" else "blob"
        columns = f"portal varchar(255), key {kind}, received_ms bigint, until_ms bigint, PRIMARY KEY (portal, key)"
        connection.exec_driver_sql(f"CREATE TABLE forebay_handled ({columns})")

    with pytest.raises(QueueError, match="has no column reader: "):
        await marks.mark(key())
    with database.connect() as connection:
        connection.exec_driver_sql("DROP TABLE forebay_handled")

    await marks.mark(key())
    assert rows(database) == 1


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Database, Event]:
    """A database to which nobody gets through until the event is set."""
    database, goes_on = open_database(f"sqlite:///{tmp_path}/dedup.db"), Event()
    usual = database.connect

    def connect() -> Connection:
        goes_on.wait()
        return usual()

    monkeypatch.setattr(database, "connect", connect)
    return database, goes_on


async def test_a_database_that_hangs_is_told_and_nobody_waits_for_it_until_it_answers(
    hanging: tuple[Database, Event],
) -> None:
    database, goes_on = hanging
    # As soon as it goes on, it may take as long as it takes.
    marks = MarksInDatabase(database, patience_s=0.01, clock=lambda: 0.0 if goes_on.is_set() else monotonic())

    with pytest.raises(QueueUnavailable, match="does not answer within"):
        await marks.mark(key())
    with pytest.raises(QueueUnavailable, match="does not answer within"):
        # It is told at once: who asks has not waited for anything.
        marks.seen(key()).__await__().__next__()
    goes_on.set()
    assert marks._work is not None
    await marks._work

    # There was nothing left of the others, and of this one nobody knew whether it was done.
    assert await marks.seen(key())
    await marks.close()


async def test_a_database_that_has_much_to_do_and_goes_on_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, written, at = Event(), table.write, [0.0]
    patience_s = 0.01

    def clock() -> float:
        if current_thread() is main_thread():
            looked.set()
        return at[0]

    def write(connection: Connection, keys: Sequence[Key], now_ms: int) -> None:
        at[0] += 0.6 * patience_s
        looked.clear()
        looked.wait()
        written(connection, keys, now_ms)

    monkeypatch.setattr(table, "write", write)
    marks = MarksInDatabase(open_database(f"sqlite:///{tmp_path}/dedup.db"), patience_s=patience_s, clock=clock)

    await marks.mark(*(key(str(number)) for number in range(1_500)))

    assert await marks.seen(key("1499"))
    await marks.close()


async def test_who_looks_goes_where_the_name_leads_by_now(postgresql_servers: Callable[..., DatabaseServer]) -> None:
    """A server that another has taken over from knows nothing of what was handled since, and may stay to be read."""
    left, taken = postgresql_servers(), postgresql_servers()
    async with relayed(left.url(), "") as (relay, url):
        staying = MarksInDatabase(open_database(url))
        await staying.mark(key("before"))

        relay.lead_to(taken.port)
        SYSTEMS["postgresql"].take_no_writes(left)
        other = MarksInDatabase(open_database(taken.url()))
        await other.mark(key())

        # It stays with the other server, too, once it has come there.
        assert [await answer(staying) for _ in range(3)][1:] == [True, True]
        for marks in (staying, other):
            await marks.close()


async def test_who_goes_away_takes_along_what_it_asked_for(hanging: tuple[Database, Event]) -> None:
    database, goes_on = hanging
    marks = MarksInDatabase(database)
    first = asyncio.create_task(marks.mark(key("first")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(marks.mark(key("second")))
    await asyncio.sleep(0)

    second.cancel()
    await asyncio.wait([second])
    goes_on.set()
    await first

    assert await marks.seen(key("first"))
    assert not await marks.seen(key("second"))
    await marks.close()
