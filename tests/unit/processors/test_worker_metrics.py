"""What the metrics of a worker show before anything has happened."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from forebay.processors.metrics import metrics_of


@pytest.mark.parametrize(("groups", "label"), [(["one"], ""), (["one", "two"], 'group="two",')])
def test_the_first_dead_letter_and_the_first_rebalance_are_an_increase(groups: list[str], label: str) -> None:
    metrics_of(groups, registry := CollectorRegistry())

    lines = generate_latest(registry).decode().splitlines()

    for reason in ("rejected", "failed", "deadline", "killed", "undecodable", "discarded"):
        assert f'forebay_dead_total{{{label}reason="{reason}"}} 0.0' in lines
    for change in ("assigned", "revoked", "lost"):
        assert any(line.startswith("forebay_rebalances_total") and f'"{change}"' in line for line in lines)
