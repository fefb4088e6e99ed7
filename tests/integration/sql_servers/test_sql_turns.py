"""Leases by the clock of the server, and whose turn it is among the sessions of a group."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

import pytest
from sqlalchemy import select

from forebay.queues.contract import Commit, Queue
from forebay.queues.sql.claims import Claims
from forebay.queues.sql.consumer import SqlConsumer
from forebay.queues.sql.database import Database
from forebay.queues.sql.group import SqlGroup
from forebay.queues.sql.group_clock import GroupClock
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


@pytest.mark.parametrize("step", ["beat", "commit", "release", "leave"])
def test_members_of_a_group_take_their_turns_in_its_name(
    queue: Queue, database: Database, system: System, url: str, step: str
) -> None:
    """What one stored while another takes its partition would come again; and two would wait for each other's rows."""
    with closing(database.connect()) as connection, closing(database.connect()) as others:
        claims = Claims(group="group", stream=find(connection, STREAM), me="me", session_ms=3_600_000)
        clock = GroupClock(database.now_ms, claims.session_ms)
        group = SqlGroup(database=database, claims=claims, retention=KEEP_EVERYTHING, clock=clock)
        held = {one.partition: one.epoch for one in group.beat(connection, {}, is_leaving=False).claimed}
        steps: dict[str, Callable[[], object]] = {
            "beat": partial(group.beat, connection, held, is_leaving=False),
            "commit": partial(group.commit, connection, held, dict.fromkeys(held, Commit(offset=0))),
            "release": partial(group.release, connection, held),
            "leave": partial(group.leave, connection),
        }

        member = threading.Thread(target=steps[step])
        with database.writing(others, alone=claims.name):
            member.start()
            _until_one_waits(system, url)
        member.join()
