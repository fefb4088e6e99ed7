"""A parked stream that has lost what was written last: by a power cut, or as another server took over."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict

import pytest

from forebay.processors.parking import entries
from forebay.processors.parking.orders import What
from forebay.queues.contract import PlacedRecord, Record, StoredRecord
from forebay.schemas import names
from tests.parking.moody import TOPIC
from tests.parking.world import GROUP, World

PORTAL = "a.example"
NUMBER = World.partition(PORTAL)
#: Another portal of the same partition.
OTHER = next(f"{n}.example" for n in range(99) if World.partition(f"{n}.example") == NUMBER)


class Site(World):
    """A world in which a portal has waited for long, and of which something was just said again."""

    @property
    def log(self) -> list[StoredRecord]:
        """The portal's partition of the parked stream."""
        return self.queue.logs[names.parked(TOPIC)][NUMBER]

    def lose_the_last_word(self) -> None:
        """All goes on, but what was said last of the portal is gone."""
        last = self.log.pop()
        assert last.key == PORTAL
        assert isinstance(entries.read(last, GROUP), entries.Stated)
        assert self.place(PORTAL).position == last.offset


@pytest.fixture
def site() -> Iterator[Site]:
    with closing(Site()) as made:
        made.start()
        made.let(1)
        made.failing.add(PORTAL)
        made.send(PORTAL, 10)
        made.let(100)
        said = len(made.log)
        while len(made.log) == said:
            made.let(0.1)
        # It is committed.
        made.let(1.1)
        yield made


def test_who_has_waited_for_long_waits_still_for_the_next_worker(site: Site) -> None:
    [worker] = site.workers

    site.lose_the_last_word()
    site.kill(worker, 0)
    site.heal()

    site.judge()


def test_it_does_where_the_stream_goes_on_elsewhere(site: Site) -> None:
    [worker] = site.workers

    site.lose_the_last_word()
    # As in Redis, which gives no number twice.
    leapt = site.log[-1].offset + 1_000_000
    another = Record(key=OTHER, value=b"", timestamp_ms=0)
    site.log.append(PlacedRecord(**asdict(another), stream=names.parked(TOPIC), partition=NUMBER, offset=leapt))
    site.kill(worker, 0)
    site.heal()

    site.judge()


def test_it_does_for_all_who_follow(site: Site) -> None:
    [worker] = site.workers

    site.lose_the_last_word()
    site.kill(worker, 0)
    # The next one has no time to say anything of it.
    worker = site.start()
    site.let(0.1)
    site.feel("refuses")
    site.let(1.5)
    site.kill(worker, 0)
    site.heal()

    site.judge()


def test_it_does_where_the_worker_was_there_all_the_time(site: Site) -> None:
    [worker] = site.workers

    site.lose_the_last_word()
    # By this the stream gets longer than it was.
    site.order(What.HOLD, OTHER)
    site.failing.add(OTHER)
    site.send(OTHER, 10)
    site.let(3)
    site.kill(worker, 0)
    site.order(What.RESUME, OTHER)
    site.heal()

    site.judge()
