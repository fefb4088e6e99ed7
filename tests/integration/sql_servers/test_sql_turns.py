"""Leases by the clock of the server, and whose turn it is among the sessions of a group."""

import threading
import time
from contextlib import closing

import pytest
from sqlalchemy import select

from forebay.queues.contract import Queue
from forebay.queues.sql.claims import Claims
from forebay.queues.sql.consumer import SqlConsumer
from forebay.queues.sql.database import Database
from forebay.queues.sql.schema import find
from forebay.queues.sql.tables import claim
from tests.integration.queues.members import KEEP_EVERYTHING, PARTITIONS, STREAM, Follower
from tests.integration.sql_servers.systems import System


async def test_leases_go_by_the_clock_of_the_server(
    queue: Queue, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    consumer = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING)
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)

    with closing(database.connect()) as direct:
        until = direct.execute(select(claim.c.expires_at)).scalars().all()
        now_ms = database.now_ms(direct)
    await consumer.close()

    # Taken a moment before.
    assert all(now_ms < moment <= now_ms + 3_600_000 for moment in until)


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        ({"alone": "a"}, {"alone": "a"}, True),
        ({"alone": "a"}, {"beside": "a"}, True),
        ({"beside": "a"}, {"alone": "a"}, True),
        ({"beside": "a"}, {"beside": "a"}, False),
        ({"alone": "a"}, {"alone": "b"}, False),
    ],
)
def test_turns_are_taken_by_name(
    database: Database, system: System, url: str, first: dict[str, str], second: dict[str, str], waits: bool
) -> None:
    entered = threading.Event()

    def enter() -> None:
        with closing(database.connect()) as connection, database.writing(connection, **second):
            entered.set()

    other = threading.Thread(target=enter)
    with closing(database.connect()) as connection, database.writing(connection, **first):
        other.start()
        if waits:
            _until_one_waits(system, url)
            assert not entered.is_set()
        else:
            entered.wait()
    other.join()

    assert entered.is_set()


def _until_one_waits(system: System, url: str) -> None:
    with system.client(url) as watching:
        while not system.waiting(watching):
            # MariaDB answers with what it saw last, unless it is left alone for a tenth of a second.
            time.sleep(0.15)


async def test_members_of_a_group_take_their_turns_in_its_name(
    queue: Queue, database: Database, system: System, url: str
) -> None:
    with closing(database.connect()) as connection:
        consumer = SqlConsumer(database, STREAM, "group", session_s=0.9, retention=KEEP_EVERYTHING)
        await consumer.start(Follower())
        turn = Claims(group="group", stream=find(connection, STREAM), me="", session_ms=0).name
        with database.writing(connection, alone=turn):
            # Its next heartbeat stands behind us.
            _until_one_waits(system, url)
        await consumer.close()
