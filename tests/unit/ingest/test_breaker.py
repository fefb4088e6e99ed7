"""When events are given to the queue again that was too late, or took nothing."""

from dataclasses import dataclass, field

import pytest

from forebay.ingest.spool.breaker import Breaker

DEADLINE_S = 0.2
LATE = "it did not acknowledge within 200 ms"


@dataclass(kw_only=True)
class Host:
    """Two processes: one drains, the other only hears what it counts."""

    now: float = 100.0
    count: int = 0
    drains: Breaker = field(init=False)
    other: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self.drains, self.other = (Breaker(lambda: self.count, DEADLINE_S, lambda: self.now) for _ in range(2))

    def acknowledged(self, after_s: float) -> None:
        """The queue takes a record out of the spool, so long after it was sent."""
        since, self.now = self.now, self.now + after_s
        self.count += self.drains.acknowledged(since)


def test_a_queue_that_failed_gets_events_with_its_first_acknowledgement() -> None:
    host = Host()
    host.drains.open("no connection")
    host.other.open("no connection")
    assert host.drains.is_trying and host.other.is_trying

    host.acknowledged(after_s=0.1)

    assert not host.drains.is_open and not host.other.is_open


def test_a_slow_queue_gets_all_through_the_spool_until_it_is_quick() -> None:
    host = Host()
    host.drains.open(LATE, is_late=True)
    host.other.open("no connection")

    for _ in range(100):
        host.acknowledged(after_s=DEADLINE_S * 2)
        # All that waits may be sent, and no call waits for it.
        assert host.drains.is_open and not host.drains.is_trying
        assert host.other.is_open

    host.acknowledged(after_s=DEADLINE_S / 2)
    assert not host.drains.is_open and not host.other.is_open


def test_a_queue_that_is_late_again_and_again_is_passed_by_for_longer_each_time() -> None:
    host, paused = Host(), list[float]()
    for _ in range(8):
        host.now += 0.1
        host.other.open(LATE, is_late=True)
        began = host.now
        while host.other.is_open:
            # The rest of the queue is quick.
            host.acknowledged(after_s=0.1)
        paused.append(host.now - began)

    assert paused == pytest.approx([0.1, 0.5, 1, 2, 4, 8, 10, 10], abs=0.11)

    host.now += 60
    host.other.open(LATE, is_late=True)
    host.acknowledged(after_s=0.1)
    assert not host.other.is_open


def test_a_slow_queue_that_fails_is_tried_again() -> None:
    host = Host()
    host.drains.open(LATE, is_late=True)
    host.acknowledged(after_s=DEADLINE_S * 2)

    host.drains.open("no connection")

    assert host.drains.is_trying


def test_a_queue_that_nobody_needs_is_not_told_as_slow_for_ever() -> None:
    host = Host()
    host.drains.open(LATE, is_late=True)
    host.acknowledged(after_s=DEADLINE_S * 2)

    host.now += 10

    assert not host.drains.is_open


def test_a_pause_ends_also_when_no_more_is_acknowledged() -> None:
    host = Host()
    for breaker in (host.drains, host.other):
        breaker.open(LATE, is_late=True)
        breaker.open(LATE, is_late=True)
    host.acknowledged(after_s=0.1)
    host.count += 1
    assert [host.drains.is_open, host.other.is_open] == [True, True]

    host.now += 1

    assert [host.drains.is_open, host.other.is_open] == [False, False]
