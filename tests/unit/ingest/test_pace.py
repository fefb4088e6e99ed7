from hypothesis import given
from hypothesis import strategies as st

from forebay.ingest.spool.pace import Pace
from tests.clock import Clock


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), max_size=200), st.floats(0.5, 50))
def test_in_no_span_more_of_a_portal_goes_than_the_burst_and_the_rate_allow(
    steps: list[tuple[str, float]], rate: float
) -> None:
    time = Clock(1000.0)
    pace, burst = Pace(rate, 4, clock=time), 4
    gone: dict[str, list[float]] = {}

    for portal, pause_s in steps:
        if pace.takes(portal):
            gone.setdefault(portal, []).append(time.now)
        time.now += pause_s

    for times in gone.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= burst + rate * (times[last] - times[first]) + 0.001


def test_portals_do_not_share_a_rate_and_the_table_does_not_grow() -> None:
    pace = Pace(1, 1, most=100, clock=Clock(1000.0))

    assert all(pace.takes(f"p{number}") for number in range(1000))
    assert not pace.takes("p999")
    assert len(pace) == 100
