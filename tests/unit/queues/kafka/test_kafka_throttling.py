"""When it is told that the brokers hold us back."""

import pytest
from confluent_kafka import ThrottleEvent
from structlog.testing import capture_logs

from forebay.queues.kafka.faults import Faults
from forebay.queues.kafka.throttling import Throttling
from tests.clock import Clock


def held_back(seconds: float, by: int = 1) -> ThrottleEvent:
    return ThrottleEvent("127.0.0.1:9092", by, seconds)


def test_much_is_told_at_once_and_again_while_it_lasts() -> None:
    clock, faults = Clock(), Faults()
    throttling = Throttling(clock)
    told = []

    for second in range(700):
        clock.now = float(second)
        with capture_logs() as logs:
            throttling.note(faults, held_back(1.5))
        told += [(second, log["reason"]) for log in logs]

    assert [second for second, _ in told] == [0, 600]
    assert told[0][1].endswith("for 1.5 s in all, and broker 1 was the last")
    assert throttling.last is not None
    assert faults.last is throttling.last
    assert "consumer_byte_rate" in faults.text(otherwise=throttling.last)


def test_what_several_brokers_do_is_not_told_of_one() -> None:
    faults = Faults()
    throttling = Throttling(Clock())

    throttling.note(faults, held_back(0.5, by=1))
    before = throttling.last
    throttling.note(faults, held_back(0.5, by=2))

    assert before is None
    assert throttling.last is not None
    assert throttling.last.str().endswith("for 1.0 s in all, and broker 2 was the last")


def test_a_broker_whose_number_is_not_known_yet_is_told_by_its_address() -> None:
    throttling = Throttling(Clock())

    throttling.note(Faults(), ThrottleEvent("127.0.0.1:9092/bootstrap", -1, 1.0))

    assert throttling.last is not None
    assert throttling.last.str().endswith("and broker 127.0.0.1:9092 was the last")


@pytest.mark.parametrize("every_s", [1.0, 11.0])
def test_only_what_comes_together_is_much(every_s: float) -> None:
    clock, faults = Clock(), Faults()
    throttling = Throttling(clock)

    for number in range(5):
        clock.now = number * every_s
        throttling.note(faults, held_back(0.3))

    assert (throttling.last is None) == (every_s > 10)
    assert faults.last is throttling.last
