"""When events are given to the queue again that was too late, or took nothing."""

from dataclasses import dataclass, field

from forebay.ingest.spool.breaker import Breaker

DEADLINE_S, STEADY_S = 0.2, 2.0


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


def test_a_slow_queue_gets_all_through_the_spool_until_it_was_quick_for_a_while() -> None:
    host = Host()
    host.drains.open("it did not acknowledge within 200 ms")

    for _ in range(100):
        host.acknowledged(after_s=DEADLINE_S * 2)
        # All that waits may be sent, and no call waits for it.
        assert host.drains.is_open and not host.drains.is_trying

    quick_since = host.now
    while host.now < quick_since + STEADY_S - DEADLINE_S:
        host.acknowledged(after_s=0.1)
        assert host.drains.is_open
    host.now = quick_since + STEADY_S
    host.acknowledged(after_s=0.1)
    assert not host.drains.is_open


def test_a_call_that_waited_in_vain_is_not_followed_by_others_because_the_rest_of_the_queue_is_quick() -> None:
    host = Host()
    host.other.late()
    host.other.open("it did not acknowledge within 200 ms")

    host.acknowledged(after_s=0.1)
    assert host.other.is_open and not host.other.is_trying

    host.now += STEADY_S
    assert host.other.is_open, "nothing was acknowledged since"
    host.acknowledged(after_s=0.1)
    assert not host.other.is_open


def test_other_processes_hear_nothing_of_a_queue_that_is_slow() -> None:
    host = Host()
    host.drains.open("no connection")
    host.other.open("no connection")

    host.acknowledged(after_s=DEADLINE_S * 2)
    host.acknowledged(after_s=0.1)
    assert host.other.is_open

    host.now += STEADY_S
    host.acknowledged(after_s=0.1)
    assert not host.other.is_open


def test_a_slow_queue_that_fails_is_tried_again() -> None:
    host = Host()
    host.drains.open("it did not acknowledge within 200 ms")
    host.acknowledged(after_s=DEADLINE_S * 2)

    host.drains.open("no connection")

    assert host.drains.is_trying
