"""What the metrics of a worker show before anything has happened."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from forebay.processors.metrics import Tally, build_metrics, metrics_of

NOW_MS = 1_796_871_354_414


@pytest.mark.parametrize(("groups", "label"), [(["one"], ""), (["one", "two"], 'group="two",')])
def test_the_first_dead_letter_and_the_first_rebalance_are_an_increase(groups: list[str], label: str) -> None:
    metrics_of(groups, registry := CollectorRegistry())

    lines = generate_latest(registry).decode().splitlines()

    for reason in ("rejected", "failed", "deadline", "killed", "undecodable", "discarded"):
        assert f'forebay_dead_total{{{label}reason="{reason}"}} 0.0' in lines
    for change in ("assigned", "revoked", "lost"):
        assert any(line.startswith("forebay_rebalances_total") and f'"{change}"' in line for line in lines)


@pytest.mark.parametrize("ages_ms", [[250, 375, 500], [250, 70_000, 0, -1000, 125], [100, 100]])
def test_events_that_are_finished_together_count_as_one_after_the_other(ages_ms: list[int]) -> None:
    together, one_by_one = CollectorRegistry(), CollectorRegistry()
    received_ms = [NOW_MS - age_ms for age_ms in ages_ms]

    (tally := Tally(build_metrics(together))).finished_all(received_ms, NOW_MS / 1000)
    tally.flush()
    tally = Tally(build_metrics(one_by_one))
    for one_ms in received_ms:
        tally.finished(one_ms, NOW_MS / 1000)
    tally.flush()

    assert ages_of(together) == ages_of(one_by_one)


def ages_of(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if line.startswith("forebay_event_age_seconds") and "_created" not in line]
