"""A parked stream that has lost what was written last: by a power cut, or as another server took over."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict

import pytest
from structlog.testing import capture_logs

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


@pytest.mark.parametrize("leap", [0, 1_000_000])
def test_it_does_where_the_stream_goes_on_elsewhere_or_with_what_others_wrote(site: Site, leap: int) -> None:
    [worker] = site.workers

    site.lose_the_last_word()
    # As in Redis, which gives no number twice.
    leapt = site.log[-1].offset + 1 + leap
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


@pytest.mark.parametrize("kept", [0, 1])
def test_it_does_where_all_that_the_last_worker_has_said_is_gone(site: Site, kept: int) -> None:
    [worker] = site.workers
    site.stop(worker)
    said = len(site.log)
    worker = site.start()
    site.let(3)
    assert site.place(PORTAL).position > said

    site.kill(worker, 0)
    # With its claim, or without.
    del site.log[said + kept :]
    site.heal()

    site.judge()


def test_it_does_where_the_worker_was_there_all_the_time(site: Site) -> None:
    [worker] = site.workers

    site.lose_the_last_word()
    # By this the stream gets longer than it was.
    site.order(What.HOLD, OTHER)
    site.failing.add(OTHER)
    site.send(OTHER, 10)
    with capture_logs() as logs:
        site.let(3)
    assert len([one for one in logs if "has lost its end" in one["event"]]) == 1
    site.kill(worker, 0)
    site.order(What.RESUME, OTHER)
    site.heal()

    site.judge()


def test_it_does_where_the_worker_that_was_there_ends_before_it_could_say_it_again(site: Site) -> None:
    [worker] = site.workers
    site.lose_the_last_word()
    site.feel("waits")
    site.order(What.HOLD, OTHER)
    site.let(1.5)
    site.deliver()
    # It knows by this, and commits once more.
    site.let(1.1)
    assert PORTAL in [record.key for _, record, _ in site.queue.mood.waiting]

    site.kill(worker, 0)
    site.order(What.RESUME, OTHER)
    site.heal()

    site.judge()


def test_that_the_end_was_lost_is_told_by_the_worker_that_has_seen_it_and_by_none_that_follows(site: Site) -> None:
    [worker] = site.workers
    # More of it than is said anew.
    del site.log[-5:]
    with capture_logs() as logs:
        site.order(What.HOLD, OTHER)
        site.let(3)
        site.kill(worker, 0)
        site.start()
        site.let(3)

    assert len([one for one in logs if "has lost its end" in one["event"]]) == 1
    site.order(What.RESUME, OTHER)
    site.heal()
    site.judge()


def test_of_what_was_parked_last_it_is_told_that_it_is_gone(site: Site) -> None:
    # A little: nothing is said of the portal but that these stand behind the others.
    site.send(PORTAL, 3)
    site.let(2)
    [worker] = site.workers
    site.kill(worker, 0)
    for _ in range(2):
        assert isinstance(entries.read(site.log.pop(), GROUP), entries.Spilled)

    with capture_logs() as logs:
        site.start()
        site.let(5)

    assert len([one for one in logs if "has lost its end" in one["event"]]) == 1


def test_the_end_is_known_whoever_hears_first_that_something_was_kept() -> None:
    with closing(Site()) as site:
        site.start()
        site.let(1)
        site.feel("waits")
        for portal in (PORTAL, OTHER):
            site.order(What.HOLD, portal)
        site.let(3)
        with capture_logs() as logs:
            site.deliver(last_first=True)
            site.let(2)

        assert site.place(PORTAL).end == len(site.log) == 3
        assert [one for one in logs if one["log_level"] == "error"] == []


def test_who_waits_where_nothing_was_lost_is_told_once_and_nobody_is_alarmed() -> None:
    with closing(Site()) as site, capture_logs() as logs:
        site.start(park_first_s=100.0, park_longest_s=100.0)
        site.let(1)
        site.failing.update((PORTAL, OTHER))
        site.send(PORTAL, 1)
        site.let(5)
        site.send(OTHER, 1)
        site.let(5)

        # The claim, and of each portal its event and what is known of it.
        assert len(site.log) == 5
    assert [one for one in logs if one["log_level"] == "error"] == []


def test_events_that_are_gone_from_the_parked_stream_are_told_with_the_way_to_have_them_again(site: Site) -> None:
    for record in [one for one in site.log if isinstance(entries.read(one, GROUP), entries.Spilled)][-2:]:
        site.log.remove(record)

    with capture_logs() as logs:
        site.failing.clear()
        site.let(1000)

    [told] = [one for one in logs if one["log_level"] == "error"]
    assert "forebay replay --portal" in told["event"]
    assert (told["portal"], told["records"]) == (PORTAL, 2)
    assert site.done[PORTAL] == [1, 2, 3, 4, 5, 6, 7, 8]
