"""`forebay spool drain`, as one calls it, over spools that an ingest has left."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from forebay.console.errors import WrongUsage
from forebay.console.terminal.progress import _lines
from forebay.ingest.locks import FileLock
from forebay.ingest.spool.store import Store
from forebay.queues.contract import Delivery, Record
from forebay.queues.errors import QueueUnavailable, RecordRefused
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import codec
from tests.spool.host import TOPIC, Host, run, spoil, standing, taken


def test_a_spool_is_drained_in_the_order_of_each_portal(host: Host) -> None:
    host.keep("a.ru", "b.ru", "a.ru", "a.ru")
    host.replace_queue(queue := MemoryQueue())

    row = host.row("drain")
    again = host.row("drain")

    assert (row, again) == ({"sent": 4, "left": 0}, {"sent": 0, "left": 0})
    assert [record.value for record in standing(queue) if record.key == "a.ru"] == [b"0", b"2", b"3"]
    assert host.row("status")["state"] == "empty"


def test_the_portals_of_a_host_that_won_t_come_back_are_told_of_its_gaps(host: Host) -> None:
    host.keep("a.ru")
    host.refuse("a.ru", "b.ru")
    host.replace_queue(queue := MemoryQueue())

    done = host.run("drain")
    again = host.run("drain")

    assert "2 portals are told of a gap" in done.stderr and "gap" not in again.stderr
    # Behind what was kept before it.
    of_first = [record for record in standing(queue) if record.key == "a.ru"]
    assert of_first[0].value == b"0" and codec().decode(of_first[1].value).name == names.GAP
    assert [record.key for record in standing(queue)].count("b.ru") == 1


def test_gaps_that_the_queue_does_not_take_stay(host: Host) -> None:
    host.keep("b.ru")
    host.refuse("a.ru", "b.ru")
    host.replace_queue(Refusing())

    refused = host.run("drain")
    host.replace_queue(queue := MemoryQueue())
    host.row("drain")

    assert isinstance(refused.exception, RecordRefused)
    assert "a.ru" in {record.key for record in standing(queue)}


def test_a_host_without_a_spool_has_nothing_to_drain(host: Host) -> None:
    assert host.row("drain") == {"sent": 0, "left": 0}
    assert list(host.data_dir.iterdir()) == []


@pytest.mark.parametrize("command", ["drain", "status", "verify"])
def test_a_folder_that_can_not_be_meant_is_refused_and_not_called_empty(host: Host, command: str) -> None:
    host.keep("a.ru")

    absent = host.run(command, "--data-dir", str(host.data_dir / "spol"))
    too_deep = host.run(command, "--data-dir", str(host.spool.root))

    assert isinstance(absent.exception, WrongUsage) and isinstance(too_deep.exception, WrongUsage)
    assert "there is no folder" in str(absent.exception)
    assert "is a spool itself; name the folder that it stands in" in str(too_deep.exception)
    assert absent.stdout == too_deep.stdout == ""


def test_a_spool_that_an_ingest_drains_is_left_to_it(host: Host) -> None:
    host.keep("a.ru")
    host.replace_queue(queue := MemoryQueue())

    with taken(host.spool.draining.path):
        refused = host.run("drain")
        still_its_own = not FileLock(host.spool.draining.path).take()

    assert isinstance(refused.exception, WrongUsage)
    assert "an ingest drains" in str(refused.exception) and "forebay spool status" in str(refused.exception)
    assert still_its_own
    assert queue.logs == {}
    assert host.row("status")["records"] == 1
    assert host.row("drain") == {"sent": 1, "left": 0}


class Refusing(MemoryQueue):
    """Takes no record of `a.ru`, not even into quarantine."""

    def producer(self) -> MemoryProducer:
        return RefusingProducer(self)


class RefusingProducer(MemoryProducer):
    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        if record.key == "a.ru":
            raise RecordRefused("not allowed")
        super().submit(stream, record, delivery)


def test_what_neither_queue_nor_quarantine_takes_stays_and_is_a_failure(host: Host) -> None:
    host.keep("a.ru", "b.ru")
    host.replace_queue(queue := Refusing())

    row = host.row("drain", status=1)

    assert row == {"sent": 1, "left": 1}
    assert [record.key for record in standing(queue)] == ["b.ru"]
    assert host.row("status")["records"] == 1


def test_what_the_disk_has_changed_goes_to_quarantine_and_its_neighbours_to_the_queue(host: Host) -> None:
    host.keep("a.ru", "b.ru")
    spoil(host.spool.file(1))
    host.replace_queue(queue := MemoryQueue())

    row = host.row("drain")

    [set_aside] = [record for log in queue.logs[names.quarantine(TOPIC)] for record in log]
    assert row == {"sent": 2, "left": 0}
    assert dict(set_aside.headers)[names.QUARANTINE_REASON] == b"damaged_in_spool"
    assert [record.key for record in standing(queue)] == ["b.ru"]


class Deaf(MemoryQueue):
    """Has its streams, and takes nothing."""

    def producer(self) -> MemoryProducer:
        return DeafProducer(self)


class DeafProducer(MemoryProducer):
    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        raise QueueUnavailable("no leader")


def test_a_queue_that_takes_nothing_ends_the_drain_and_everything_stays(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.console.draining._PATIENCE_S", 0.01)
    host.keep("a.ru", "b.ru")
    host.replace_queue(Deaf())

    done = host.run("drain")

    assert isinstance(done.exception, QueueUnavailable)
    assert str(done.exception).startswith("2 events are still in the spool: the queue took none for")
    assert (host.row("status")["records"], host.row("status")["state"]) == (2, "orphaned")


def test_the_drain_tells_how_far_it_is(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[tuple[str, int]] = []
    told: list[int] = []

    @contextmanager
    def progress(doing: str, total: int, stream: object) -> Iterator[Callable[[int], None]]:
        began.append((doing, total))
        yield told.append

    monkeypatch.setattr("forebay.console.draining.progress", progress)
    host.keep(*["a.ru"] * 3, *["b.ru"] * 2)
    host.replace_queue(MemoryQueue())

    host.row("drain")

    assert began == [("draining", 5)]
    assert told == sorted(told)
    assert told[-1] == 5


def test_where_nobody_watches_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0

    with _lines("draining", 2000, sys.stdout, lambda: now) as told:
        for now in (1.0, 6.0, 7.0, 12.0, 18.0):
            told(int(now * 100) if now < 18 else 2000)

    assert capsys.readouterr().out.splitlines() == ["draining: 600 of 2,000", "draining: 1,200 of 2,000"]


def test_a_refused_drain_is_wrong_usage(host: Host) -> None:
    host.keep("a.ru")

    with taken(host.spool.draining.path):
        done = run("--data-dir", str(host.data_dir), "spool", "drain", cwd=host.data_dir)

    assert done.returncode == 2
    assert done.stderr.startswith("forebay: an ingest drains")


class Gone(MemoryQueue):
    """Says nothing any more, and somebody ends the command: as it looks at the streams, or as it sends."""

    def __init__(self, number: int, *, takes_first: bool) -> None:
        super().__init__()
        self._number, self._takes_first = number, takes_first

    async def ensure(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract, or never."""
        if not self._takes_first:
            os.kill(os.getpid(), self._number)
            await asyncio.Event().wait()
        return await super().ensure(streams, partitions)

    def producer(self) -> MemoryProducer:
        """One that takes the first record alone."""
        return _TakesOne(self, self._number)


class _TakesOne(MemoryProducer):
    def __init__(self, queue: MemoryQueue, number: int) -> None:
        super().__init__(queue)
        self._number, self._has_taken = number, False

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        if self._has_taken:
            os.kill(os.getpid(), self._number)
        else:
            self._has_taken = True
            super().submit(stream, record, delivery)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("takes_first", "left"), [(False, "2 events"), (True, "1 event")])
def test_a_drain_that_is_ended_while_the_queue_is_gone_says_what_is_left(
    host: Host, number: int, takes_first: bool, left: str
) -> None:
    host.keep("a.ru", "a.ru")
    host.replace_queue(Gone(number, takes_first=takes_first))

    done = host.run("drain")

    assert (done.exit_code, done.stdout) == (130, "")
    assert f"stopped: {left} still in the spool; run the same again" in done.stderr
    assert host.row("status")["records"] == int(left[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_drain_that_is_ended_while_the_spool_is_opened_ends_as_that(
    host: Host, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def hang(_: Store) -> None:
        os.kill(os.getpid(), number)
        over.wait()

    host.keep("a.ru")
    with monkeypatch.context() as hanging:
        hanging.setattr(Store, "open", hang)
        done = host.run("drain")
    over.set()

    assert (done.exit_code, done.output) == (130, "")
    assert host.row("status")["records"] == 1
