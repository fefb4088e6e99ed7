import pytest
from prometheus_client import CollectorRegistry

from forebay.ingest.durations import Durations


async def test_what_was_gathered_is_shown_in_its_buckets_once_it_is_handed_over() -> None:
    registry = CollectorRegistry()
    durations = Durations("took_seconds", "How long it took", buckets=(0.1, 1.0), registry=registry)

    def shown() -> list[float | None]:
        return [registry.get_sample_value("took_seconds_bucket", {"le": le}) for le in ("0.1", "1.0", "+Inf")]

    for seconds in (0.05, 0.1, 0.5, 7.0):
        durations.took(seconds)
    before = shown()
    durations.flush()
    first = shown()
    durations.took(0.5)
    durations.flush()
    durations.flush()

    assert (before, first, shown()) == ([0, 0, 0], [2, 3, 4], [2, 4, 5])
    assert registry.get_sample_value("took_seconds_sum") == pytest.approx(8.15)
