"""Which event ends its worker is found out, whatever else is at work; nobody else's is given up for it."""

import asyncio
import random
import subprocess
import sys
from collections import deque
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from forebay.processors.crashes.caution import Care, Caution, open_caution
from forebay.processors.crashes.life import Life
from forebay.processors.notes import Note
from forebay.processors.parking.restored import Restored
from forebay.processors.partitions import Lane, Partition
from forebay.queues.contract import PlacedRecord
from tests.lives import Lives

WHOSE = 1


class Died(BaseException):
    """The process was ended."""


class Model:
    """Portals with events, some of which end their worker; slots that handle them as a worker does."""

    def __init__(self, folder: Path, draw: random.Random, portals: list[list[bool]], killed_after: int) -> None:
        self.lives, self.draw = Lives(folder), draw
        #: After so many steps somebody ends a worker, and never again.
        self.killed_after = killed_after
        #: Portal → offset → whether it ends its worker.
        offsets = count()
        self.events = {str(number): {next(offsets): one for one in ends} for number, ends in enumerate(portals)}
        self.committed: set[int] = set()
        self.finished: set[int] = set()
        self.given_up: list[int] = []

    async def live(self) -> bool:
        """One life; whether everything is done."""
        caution, partition = self.lives.begin(), Partition(0, 0, Note())
        lanes: deque[Lane] = deque()
        for portal, events in self.events.items():
            lane = Lane(partition, portal)
            lane.records.extend(
                PlacedRecord(key=portal, value=b"", timestamp_ms=0, stream="s", partition=0, offset=offset)
                for offset in events
                if offset not in self.committed
            )
            lanes.append(lane)
        self.draw.shuffle(lanes)
        slots = [asyncio.create_task(self._slot(caution, lanes)) for _ in range(4)]
        try:
            await asyncio.gather(*slots)
        except Died:
            self.lives.end()
            for slot in slots:
                slot.cancel()
            await asyncio.gather(*slots, return_exceptions=True)
            # The last commit may be from a while ago.
            self.committed |= {one for one in self.finished if self.draw.random() < 0.5}
            self.finished = set(self.committed)
            return False
        caution.close(asked=False)
        return True

    async def _slot(self, caution: Caution, lanes: deque[Lane]) -> None:
        while lanes:
            lane = lanes.popleft()
            if not lane.records:
                continue
            care = await caution.enter(WHOSE, lane) if caution.is_needed else None
            if care is None and caution.is_needed:
                await asyncio.sleep(0)
            else:
                await self._turn(caution, lane, care)
            lanes.append(lane)

    async def _turn(self, caution: Caution, lane: Lane, care: Care | None) -> None:
        offset = lane.records[0].offset
        if care is not None and care.given_up:
            self.given_up.append(offset)
        else:
            for _ in range(self.draw.randrange(4)):
                self.killed_after -= 1
                if not self.killed_after:
                    raise Died
                await asyncio.sleep(0)
            if self.events[lane.portal][offset]:
                raise Died
        lane.records.popleft()
        self.finished.add(offset)
        if care is not None:
            caution.leave(care, was_tried=True)


@given(
    st.integers(),
    st.lists(st.lists(st.integers(0, 9).map(lambda one: one == 0), max_size=4), max_size=12),
    st.integers(1, 200),
)
def test_only_what_ends_its_worker_is_given_up_and_everything_comes_to_its_end(
    seed: int, portals: list[list[bool]], killed_after: int
) -> None:
    culprits = [one for portal in portals for one in portal if one]
    with TemporaryDirectory() as folder:
        model = Model(Path(folder), random.Random(seed), portals, killed_after)

        lives = 1
        while not asyncio.run(model.live()):
            lives += 1
            # The first of all is not noted, each needs four: among others, in line, and alone twice; and a kill is one.
            assert lives <= 3 + 4 * len(culprits)

    ends = {offset for events in model.events.values() for offset, one in events.items() if one}
    assert set(model.given_up) == ends
    assert model.finished == {offset for events in model.events.values() for offset in events}


def test_a_stop_that_was_asked_for_forgets_what_was_found_out_and_an_error_does_not(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    lives.begin()
    lives.end()
    failed = lives.begin()
    assert failed.is_needed
    failed.close(asked=False)
    stopped = lives.begin()
    assert stopped.is_needed

    stopped.close(asked=True)

    assert not lives.begin().is_needed


def test_what_was_long_ago_is_forgotten(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    lives.begin()
    lives.end()
    later = Life(tmp_path, now=lambda: 1e11)

    assert later.ended() == []
    assert [path.suffix for path in tmp_path.iterdir()] == [".life"]


def lane_of(portal: str, offset: int) -> Lane:
    lane = Lane(Partition(0, 0, Note()), portal)
    lane.records.append(PlacedRecord(key=portal, value=b"", timestamp_ms=0, stream="s", partition=0, offset=offset))
    return lane


async def suspected(lives: Lives, deaths: int, *lanes: Lane) -> None:
    """So many workers are ended while these are at work."""
    for _ in range(deaths + 1):
        caution = lives.begin()
        if caution.is_needed:
            assert None not in [await caution.enter(WHOSE, lane) for lane in lanes]
        lives.end()


@pytest.mark.parametrize("deaths", [1, 2])
async def test_a_suspect_that_never_ends_keeps_the_others_waiting_for_no_longer_than_that(
    tmp_path: Path, deaths: int
) -> None:
    lives = Lives(tmp_path)
    await suspected(lives, 1, hangs := lane_of("hangs", 1), other := lane_of("other", 2))
    await suspected(lives, deaths - 2, hangs)
    caution = Caution(Life(tmp_path), patience_s=0.01)
    assert await caution.enter(WHOSE, hangs)

    assert await caution.enter(WHOSE, other) is None
    while (care := await caution.enter(WHOSE, other)) is None:
        await asyncio.sleep(0)

    assert care.is_suspect


async def test_while_one_is_alone_nobody_else_begins(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    await suspected(lives, 1, suspect := lane_of("suspect", 1))
    await suspected(lives, 0, suspect)
    caution = lives.begin()
    clear, other = [await caution.enter(WHOSE, lane_of(portal, 2)) for portal in ("a", "c")]
    assert clear
    assert other
    waits_to_be_alone = asyncio.create_task(caution.enter(WHOSE, suspect))
    await asyncio.sleep(0)
    waits_for_it = asyncio.create_task(caution.enter(WHOSE, lane_of("b", 3)))
    await asyncio.sleep(0)
    assert not waits_to_be_alone.done()

    caution.leave(clear, was_tried=True)
    await asyncio.sleep(0)
    assert not waits_to_be_alone.done()
    caution.leave(other, was_tried=True)
    alone = await waits_to_be_alone
    assert alone
    assert not waits_for_it.done()
    caution.leave(alone, was_tried=True)

    assert await waits_for_it


async def test_what_was_alone_and_not_tried_is_alone_again_and_what_was_tried_is_not(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    await suspected(lives, 1, suspect := lane_of("suspect", 1))
    await suspected(lives, 0, suspect)
    caution = lives.begin()
    care = await caution.enter(WHOSE, suspect)
    assert care
    assert care.work.alone

    caution.leave(care, was_tried=False)
    again = await caution.enter(WHOSE, suspect)
    assert again
    assert again.work.alone
    caution.leave(again, was_tried=True)

    last = await caution.enter(WHOSE, suspect)
    assert last
    assert not last.work.alone


async def test_what_was_over_when_another_ended_its_worker_is_suspected_no_more_than_before(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    await suspected(lives, 1, suspect := lane_of("suspect", 1))
    caution = lives.begin()
    care = await caution.enter(WHOSE, suspect)
    assert care
    caution.leave(care, was_tried=True)
    lives.end()

    again = await lives.begin().enter(WHOSE, suspect)

    assert again
    assert again.is_suspect
    assert not again.work.alone


async def test_of_a_list_that_comes_from_several_streams_nothing_is_suspected_that_was_not_in_it(
    tmp_path: Path,
) -> None:
    lives, listed = Lives(tmp_path), lane_of("a", 1)
    lives.begin()
    lives.end()
    care = await lives.begin().enter(WHOSE, listed)
    assert care
    parked = from_parked_at(900)

    care.takes([listed.records[0], parked, *lane_of("a", 3).records])
    lives.end()

    caution = lives.begin()
    for offset, is_suspect in ((1, True), (2, True), (3, True), (4, False), (900, False)):
        entered = await caution.enter(WHOSE, lane_of("a", offset))
        assert entered
        assert entered.is_suspect == is_suspect
        caution.leave(entered, was_tried=True)


def from_parked_at(position: int) -> Restored:
    return Restored(
        key="a", value=b"", timestamp_ms=0, headers=(), stream="s", partition=0, offset=2, position=position
    )


FORKS = """
import os, sys, time
from pathlib import Path
from forebay.processors.crashes.life import Life

life = Life(Path(sys.argv[1]))
if os.fork():
    os.abort()
sys.stdin.read()
"""


def test_what_a_handler_has_forked_does_not_keep_its_worker_alive(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", FORKS, str(tmp_path)], stdin=subprocess.PIPE)
    child.wait()

    assert len(Life(tmp_path).ended()) == 1

    assert child.stdin
    child.stdin.close()


def test_without_a_folder_to_note_in_a_worker_works_all_the_same_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").touch()

    with capture_logs() as logs:
        assert open_caution(tmp_path / "data") is None

    assert [line["log_level"] for line in logs] == ["warning"]


def test_where_a_disk_has_no_locks_nothing_is_left_of_the_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError("No locks available")

    monkeypatch.setattr("fcntl.lockf", no_locks)

    assert open_caution(tmp_path) is None

    assert list((tmp_path / "workers").iterdir()) == []
