import structlog.testing

from forebay.ingest.telling import Teller
from tests.clock import Clock


def test_a_flood_of_refusals_is_some_lines_and_then_one_a_second_with_the_number_of_the_others() -> None:
    time = Clock(1000.0)
    teller = Teller(clock=time)

    with structlog.testing.capture_logs() as lines:
        for _ in range(10_000):
            teller.warn("a call was refused", error="not_our_portal")
        time.now += 1
        teller.warn("a call was refused", error="not_our_portal")
        teller.warn("a call was refused", error="not_our_portal")

    assert len(lines) == 51
    assert [line.get("left_out_before") for line in lines] == [None] * 50 + [9950]


def test_refusals_with_some_time_between_them_are_all_told() -> None:
    time = Clock(1000.0)
    teller = Teller(clock=time)

    with structlog.testing.capture_logs() as lines:
        for _ in range(200):
            teller.warn("a call was refused")
            time.now += 1

    assert len(lines) == 200
