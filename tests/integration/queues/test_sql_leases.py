"""Leases of the SQL queue: what a member owns, for how long, and who is told."""

import asyncio
import time
from contextlib import closing

import pytest
from sqlalchemy import func, select, update

from forebay.queues.contract import Commit, Producer, Queue
from forebay.queues.errors import Fenced
from forebay.queues.sql.claims import Claims
from forebay.queues.sql.consumer import SqlConsumer
from forebay.queues.sql.database import Database
from forebay.queues.sql.group import SqlGroup
from forebay.queues.sql.group_clock import GroupClock
from forebay.queues.sql.schema import find
from forebay.queues.sql.tables import claim, member
from tests.integration.queues.members import KEEP_EVERYTHING, PARTITIONS, STREAM, Clock, Follower, fetch, send_all

SESSION_S = 30
ALL = set(range(PARTITIONS))


async def test_a_lease_that_ran_out_is_lost_before_anything_is_given_out(
    database: Database, producer: Producer
) -> None:
    clock, follower = Clock(), Follower()
    consumer = SqlConsumer(
        database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING, clock=clock, now_ms=clock.ms
    )
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    partition = await send_all(producer, 5)

    clock.now += 3601
    with pytest.raises(Fenced) as fenced:
        await consumer.commit({partition: Commit(offset=5)})

    assert fenced.value.partitions == {partition}
    assert follower.told == ["assigned"] * PARTITIONS + ["lost"] * PARTITIONS
    await follower.owns(PARTITIONS)
    assert follower.owned[partition].offset == 0
    assert len(await fetch(consumer, 5)) == 5
    await consumer.close()


async def test_a_process_that_stood_still_gives_out_nothing_of_what_it_had(
    database: Database, producer: Producer
) -> None:
    clock, follower = Clock(), Follower()
    consumer = SqlConsumer(
        database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING, clock=clock, now_ms=clock.ms
    )
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    await send_all(producer, 5)

    clock.now += 3601
    found = await consumer.fetch(10, 0)

    assert follower.told[PARTITIONS : 2 * PARTITIONS] == ["lost"] * PARTITIONS
    assert not found or follower.told[2 * PARTITIONS :] == ["assigned"] * PARTITIONS
    await consumer.close()


async def test_a_heartbeat_that_finds_another_owner_tells_that_all_is_lost(database: Database) -> None:
    robbed, other, clock = Follower(), Follower(), Clock()
    first = SqlConsumer(database, STREAM, "group", session_s=SESSION_S, retention=KEEP_EVERYTHING)
    await first.start(robbed)
    await robbed.owns(PARTITIONS)

    clock.now = time.time() + 7200
    second = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING, now_ms=clock.ms)
    await second.start(other)
    await robbed.owns(0)

    assert robbed.told == ["assigned"] * PARTITIONS + ["lost"] * PARTITIONS
    await first.close()
    await second.close()


async def test_a_member_that_is_silent_for_a_session_is_replaced_and_fenced(
    queue: Queue, database: Database, producer: Producer
) -> None:
    partition = await send_all(producer, 5)
    silent, other, clock = Follower(), Follower(), Clock()
    # Its heartbeats are an hour apart: to the other, whose clock is two hours on, it is dead.
    first = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING)
    await first.start(silent)
    await silent.owns(PARTITIONS)
    clock.now = time.time() + 7200
    second = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING, now_ms=clock.ms)
    await second.start(other)
    await other.owns(PARTITIONS)

    with pytest.raises(Fenced) as fenced:
        await first.commit({partition: Commit(offset=1, note=b"late")})
    await second.commit({partition: Commit(offset=3, note=b"right")})
    await second.close()

    assert fenced.value.partitions == {partition}
    inspector = queue.inspector()
    assert (await inspector.groups(STREAM))["group"][partition].note == b"right"
    await inspector.close()
    await first.close()


class Member:
    """One of a group, which looks and says what it does when the test has it."""

    def __init__(self, database: Database, name: str, wall: Clock, steady: Clock) -> None:
        self._database, self._connection = database, database.connect()
        claims = Claims(group="group", stream=find(self._connection, STREAM), me=name, session_ms=SESSION_S * 1000)
        clock = GroupClock(wall.ms, claims.session_ms, steady)
        self._group = SqlGroup(database=database, claims=claims, retention=KEEP_EVERYTHING, clock=clock)
        self.held: dict[int, int] = {}

    def beat(self) -> set[int]:
        """What it owns then."""
        beat = self._group.beat(self._connection, self.held, is_leaving=False)
        self.held = {one: self.held[one] for one in beat.still} | {one.partition: one.epoch for one in beat.claimed}
        return set(self.held)

    def free(self) -> set[int]:
        """What nobody owns, as it sees it."""
        return set(self._group.view(self._connection, self.held).free)

    def living(self) -> set[str]:
        """Who lives, as it sees it."""
        return set(self._group.view(self._connection, self.held).members)

    def commit(self, offset: int) -> set[int]:
        """Of all that it holds, what was stored."""
        return self._group.commit(self._connection, self.held, dict.fromkeys(self.held, Commit(offset=offset)))

    def put(self, **values: object) -> None:
        """Have this stand in all claims, as by another's hand."""
        with self._database.writing(self._connection):
            self._connection.execute(update(claim).values(values))

    def release(self) -> None:
        """All that it holds."""
        self._group.release(self._connection, self.held)

    def owners(self) -> set[str | None]:
        """Whose the partitions are."""
        return set(self._connection.execute(select(claim.c.owner)).scalars())

    def written(self) -> set[str]:
        """The members of whom there is a row, of the dead, too."""
        return set(self._connection.execute(select(member.c.member)).scalars())

    def close(self) -> None:
        """Without a word to the others."""
        self._connection.close()


def pass_by(seconds: float, *clocks: Clock) -> None:
    for clock in clocks:
        clock.now += seconds


def test_a_clock_that_leaps_forwards_takes_nothing_from_a_member_that_lives(queue: Queue, database: Database) -> None:
    wall, steady = Clock(), Clock()
    with closing(Member(database, "a", wall, steady)) as one, closing(Member(database, "b", wall, steady)) as other:
        assert one.beat() == ALL
        assert other.beat() == set()

        wall.now += 3600
        assert (other.free(), other.beat()) == (set(), set())
        assert other.living() == {"a", "b"}
        pass_by(SESSION_S / 3, wall, steady)
        assert one.beat() == ALL
        pass_by(SESSION_S * 0.9, wall, steady)
        assert (other.free(), other.beat()) == (set(), set())

        # Then it counts as before: who has said nothing for a session owns nothing.
        pass_by(SESSION_S * 0.2, wall, steady)
        assert (other.free(), other.living()) == (ALL, {"b"})
        assert other.beat() == ALL
        assert other.written() == {"b"}


def test_what_a_dead_member_had_is_free_after_a_session_though_the_clock_was_set_back(
    queue: Queue, database: Database
) -> None:
    wall, steady = Clock(), Clock()
    wall.now += 7200
    with closing(Member(database, "a", wall, steady)) as dead:
        assert dead.beat() == ALL

    wall.now -= 7200
    with closing(Member(database, "b", wall, steady)) as other:
        assert other.beat() == set()
        pass_by(SESSION_S, wall, steady)

        assert other.beat() == ALL


def test_what_stands_in_the_name_of_a_member_that_does_not_know_of_it_is_anothers_after_a_session(
    queue: Queue, database: Database
) -> None:
    """As when the answer to its heartbeat was lost, and its share was a smaller one when it could ask again."""
    wall, steady = Clock(), Clock()
    with closing(Member(database, "a", wall, steady)) as one, closing(Member(database, "b", wall, steady)) as other:
        one.beat()
        one.held = {partition: epoch for partition, epoch in one.held.items() if partition < PARTITIONS / 2}
        assert other.beat() == set()

        for _ in range(3):
            pass_by(SESSION_S / 3, wall, steady)
            kept, taken = one.beat(), other.beat()

        assert (kept, taken) == ({0, 1}, {2, 3})


def test_what_another_has_under_the_same_epoch_is_not_ours(queue: Queue, database: Database) -> None:
    """As in a database that was set back to before both had taken it."""
    wall, steady = Clock(), Clock()
    with closing(Member(database, "a", wall, steady)) as one:
        one.beat()
        one.put(owner="b")

        assert one.commit(1) == set()
        one.release()
        assert one.owners() == {"b"}
        assert one.beat() == set()


async def test_a_handler_that_blocks_the_event_loop_costs_no_membership(queue: Queue) -> None:
    blocked, other = Follower(), Follower()
    # Long enough for a machine that stands still for a moment, too.
    consumers = [queue.consumer(STREAM, "group", session_s=3.0) for _ in range(2)]
    await consumers[0].start(blocked)
    await consumers[1].start(other)
    await blocked.owns(2)
    await other.owns(2)

    time.sleep(4.0)  # blocking the loop is what this is about
    await asyncio.sleep(0)

    assert "lost" not in blocked.told + other.told
    for consumer in consumers:
        await consumer.close()


async def test_a_closed_member_leaves_no_row(queue: Queue, database: Database) -> None:
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(Follower())
    await consumer.close()

    with closing(database.connect()) as direct:
        assert direct.execute(select(func.count()).select_from(member)).scalar() == 0
        assert direct.execute(select(func.count()).where(claim.c.owner.is_not(None))).scalar() == 0
