"""Whatever is done to a group of Redis, members are given the log; where nothing was, the group says what is true."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from forebay.queues.contract import Commit
from forebay.queues.groups.contract import Claimed, Stretch, Wanted
from forebay.queues.groups.leaps import Leaps
from forebay.queues.groups.retention import Retention
from forebay.queues.redis import group, scripts
from forebay.queues.redis.address import address
from forebay.queues.redis.connection import RedisConnection, RedisStore
from forebay.queues.redis.group import RedisGroup
from forebay.queues.redis.reading import RedisLog
from forebay.queues.redis.streams import find, make
from tests.integration.queues.members import STREAM
from tests.redis.server import RedisServer, direct

#: A group's name may have any characters.
GROUP = "a group: *[ü]\n"

MEMBERS = ("one", "two")
STRANGER = "a stranger"
LOG = f"forebay:{{{STREAM}}}:log:0"

counts = st.integers(1, 40)
percents = st.integers(0, 100)


@pytest.fixture
def fresh(
    redis_servers: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], "Deliveries"]]:
    """Makes the state machine, on an empty server each time."""
    monkeypatch.setattr(group, "_ACKNOWLEDGE", 3)
    server = redis_servers("appendonly no")
    connection = RedisStore(address(server.url("?fsync=no"))).connect()
    with direct(server.url()) as admin:

        def made() -> "Deliveries":
            admin.flushdb()
            make(connection, [STREAM], 1)
            return Deliveries(connection, admin)

        yield made
    connection.close()


def test_members_are_given_the_log_and_the_group_of_redis_says_what_they_have(
    fresh: Callable[[], "Deliveries"],
) -> None:
    run = settings(max_examples=200, stateful_step_count=40)
    run_state_machine_as_test(fresh, settings=run)  # type: ignore[arg-type]  # it only calls it


def test_what_was_swept_before_it_was_acknowledged_counts_as_read(fresh: Callable[[], "Deliveries"]) -> None:
    state = fresh()
    state.join(meddler=True)
    state.write(8, leaps=False)
    state.read(8, is_cancelled=False)
    state.meddle("DESTROY", 0)
    state.commit(13)

    state.die_with_a_commit_that_was_not_acknowledged(15)

    state.teardown()


def test_what_somebody_has_acknowledged_amid_others_comes_again_in_its_place(
    fresh: Callable[[], "Deliveries"],
) -> None:
    state = fresh()
    state.join(meddler=True)
    state.write(5, leaps=False)
    state.read(5, is_cancelled=True)
    state.meddle("XACK", 50)

    state.read(5, is_cancelled=False)

    state.teardown()


class Deliveries(RuleBasedStateMachine):
    """Two members of a group, one partition, and somebody with `redis-cli`."""

    def __init__(self, connection: RedisConnection, admin: Any) -> None:
        super().__init__()
        self.connection, self.admin = connection, admin
        self.stream = find(connection, STREAM)
        retention = Retention(stream=STREAM, keep_ms=0)
        self.members = [
            RedisGroup(name=GROUP, of=self.stream, me=name, session_s=3600, retention=retention, leaps=Leaps(3_600_000))
            for name in MEMBERS
        ]
        self.logs = [RedisLog(self.stream, GROUP, name) for name in MEMBERS]
        #: What is kept, in order; which of it was handed out and not committed, to whom, and how often.
        self.entries: list[int] = []
        self.pending: dict[int, tuple[str, int]] = {}
        self.batches = self.committed = self.read_up_to = 0
        #: Nobody else has touched the group.
        self.is_ours = True

    @initialize(meddler=st.booleans())
    def join(self, meddler: bool) -> None:
        self.meddler, self.owner = meddler, 0
        [claimed] = self.members[0].beat(self.connection, {}, is_leaving=False).claimed
        self._begin(claimed)

    def _begin(self, claimed: Claimed) -> None:
        assert claimed.committed.offset == self.committed
        self.epoch, self.position = claimed.epoch, self.committed

    @rule(count=counts, leaps=st.sampled_from([False, False, True]))
    def write(self, count: int, leaps: bool) -> None:
        keys = self.stream.keys
        if leaps:
            self.connection.ask("HSET", keys.ends, "life:0", "another")
        records: list[str | bytes | int] = [0, "portal", 1, b"", b"value"] * count
        names = [keys.about, keys.ends, keys.producer("p"), keys.log(0)]
        about = (self.stream.id, self.batches, 60_000, keys.news, f"[[0,{count}]]")
        _, firsts = self.connection.run(scripts.APPEND, names, *about, *records)
        first = int(firsts.partition(b":")[2])
        self.entries += range(first, first + count)
        self.batches += 1

    @rule(most=counts, is_cancelled=st.booleans())
    def read(self, most: int, is_cancelled: bool) -> None:
        end = self.logs[0].ends(self.connection, [0])[0]
        waiting = [offset for offset in self.entries if offset >= self.position][:most]

        stretch = self._read(self.owner, self.position, end, most)

        assert [record.offset for record in stretch.records] == waiting
        assert stretch.following == (waiting[-1] + 1 if waiting else end)
        for offset in waiting:
            times = self.pending[offset][1] + 1 if offset in self.pending else 1
            self.pending[offset] = MEMBERS[self.owner], times
        self.read_up_to = max([self.read_up_to, *(offset + 1 for offset in waiting)])
        if not is_cancelled:
            self.position = stretch.following

    @rule(most=counts, is_over=st.booleans())
    def read_without_the_lease(self, most: int, is_over: bool) -> None:
        """Another has it, or nobody since its time is over."""
        before, leases = self._groups(), self.stream.keys.leases(GROUP)
        lease = self.admin.hget(leases, 0)
        reader = self.owner if is_over else 1 - self.owner
        if is_over:
            self.admin.hset(leases, 0, f"{self.epoch} 1 {MEMBERS[reader]}")

        stretch = self._read(reader, self.committed, 10**9, most)

        self.admin.hset(leases, 0, lease)
        assert (stretch.records, stretch.following) == ([], self.committed)
        assert self._groups() == before

    def _read(self, reader: int, offset: int, end: int, most: int) -> Stretch:
        wanted = Wanted(partition=0, offset=offset, end=end, most=most)
        [stretch] = self.logs[reader].read(self.connection, [wanted])
        return stretch

    @rule(percent=percents)
    def commit(self, percent: int) -> None:
        done = [offset for offset in self.entries if self.committed <= offset < self.position]
        if part := done[: percent * len(done) // 100]:
            self._commit(part[-1] + 1)

    @precondition(lambda self: self.meddler)
    @rule(percent=percents)
    def commit_less_than_before(self, percent: int) -> None:
        kept = [offset for offset in self.entries if offset < self.committed]
        if kept:
            self._commit(kept[percent * (len(kept) - 1) // 100])
            # What was acknowledged is not pending again before it is read again.
            self.is_ours = False

    def _commit(self, offset: int) -> None:
        stored = self.members[self.owner].commit(self.connection, {0: self.epoch}, {0: Commit(offset=offset)})
        assert stored == {0}
        self.committed = offset
        self.pending = {pending: held for pending, held in self.pending.items() if pending >= offset}
        if self.is_ours:
            assert {*self._consumers()} == {name for name, _ in self.pending.values()} | {*self._owner_if_there()}

    @rule()
    def commit_without_the_lease(self) -> None:
        before = self._groups()

        stored = self.members[1 - self.owner].commit(self.connection, {0: self.epoch}, {0: Commit(offset=10**9)})

        assert stored == set()
        assert self._groups() == before

    @rule(is_another=st.booleans())
    def die(self, is_another: bool) -> None:
        """The lease ends, and the same member or the other one is the next to take it."""
        self.connection.ask("HSET", self.stream.keys.leases(GROUP), 0, f"{self.epoch} 0 {MEMBERS[self.owner]}")
        self.owner = (self.owner + is_another) % 2
        [claimed] = self.members[self.owner]._claim(self.connection, [0])
        self._begin(claimed)

    @rule(percent=percents)
    def die_with_a_commit_that_was_not_acknowledged(self, percent: int) -> None:
        """It is swept, too, before the next owner comes."""
        done = [offset for offset in self.entries if self.committed <= offset < self.position]
        if part := done[: percent * len(done) // 100]:
            self.admin.hset(self.stream.keys.offsets, f"0:{GROUP}", part[-1] + 1)
            self.committed = part[-1] + 1
            self.sweep()
            self.die(is_another=True)
            self.pending = {pending: held for pending, held in self.pending.items() if pending >= self.committed}

    @rule()
    def sweep(self) -> None:
        while self.members[self.owner].sweep(self.connection, 0):
            pass
        self.entries = [offset for offset in self.entries if offset >= self.committed]

    @precondition(lambda self: self.meddler)
    @rule(what=st.sampled_from(["XACK", "XACK", "SETID", "DELCONSUMER", "XREADGROUP", "DESTROY"]), percent=percents)
    def meddle(self, what: str, percent: int) -> None:
        if not self._groups():
            return
        self.is_ours = False
        pending, last = [*self._pending()], self.entries[-1] + 100 if self.entries else 0
        if what == "XACK" and pending:
            self.admin.xack(LOG, GROUP, f"{pending[percent * (len(pending) - 1) // 100]}-1")
        elif what == "SETID":
            self.admin.xgroup_setid(LOG, GROUP, f"{percent * last // 100}-0")
        elif what == "DELCONSUMER":
            self.admin.xgroup_delconsumer(LOG, GROUP, [*MEMBERS, STRANGER][percent % 3])
        elif what == "XREADGROUP":
            self.admin.xreadgroup(GROUP, STRANGER, {LOG: ">"}, count=percent + 1)
        elif what == "DESTROY":
            self.admin.xgroup_destroy(LOG, GROUP)

    @invariant()
    @precondition(lambda self: self.is_ours)
    def what_redis_tells_is_true(self) -> None:
        assert self._pending() == self.pending
        [told] = self._groups()
        assert told["name"] == GROUP.encode()
        assert told["pending"] == len(self.pending)
        assert told["lag"] == sum(offset >= self.read_up_to for offset in self.entries)

    def teardown(self) -> None:
        """Once everything was read and committed, the group is as it should be, whatever was done to it."""
        if self.batches:
            self.write(1, leaps=False)
            self.die(is_another=True)
            while self.position < self.entries[-1] + 1:
                self.read(40, is_cancelled=False)
            self._commit(self.position)
            [told] = self._groups()
            assert (told["pending"], told["lag"]) == (0, 0)
            assert [*self._consumers()] == [MEMBERS[self.owner]]

    def _pending(self) -> dict[int, tuple[str, int]]:
        found = self.admin.xpending_range(LOG, GROUP, "-", "+", 10_000) if self._groups() else []
        return {
            int(one["message_id"].partition(b"-")[0]): (one["consumer"].decode(), one["times_delivered"])
            for one in found
        }

    def _groups(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.admin.xinfo_groups(LOG)
        return found

    def _consumers(self) -> list[str]:
        return [one["name"].decode() for one in self.admin.xinfo_consumers(LOG, GROUP)]

    def _owner_if_there(self) -> set[str]:
        return {MEMBERS[self.owner]}.intersection(self._consumers())
