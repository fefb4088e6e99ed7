"""What the canary tells of the queue from one look to the next."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from forebay.console.checks.watch import watch_queue
from forebay.console.traffic.canary_metrics import CanaryMetrics
from forebay.queues.findings import Finding, State


def found(state: State, detail: str = "so") -> Finding:
    return Finding(check="topic events", state=state, detail=detail, remedy="mend it")


async def watched(looks: list[list[Finding] | Exception]) -> tuple[list[dict[str, float]], list[str]]:
    """What the metrics say after each of these looks, and the details that were logged."""
    metrics, shown = CanaryMetrics(registry := CollectorRegistry()), []
    coming: Iterator[list[Finding] | Exception] = iter(looks)

    async def look() -> AsyncIterator[Finding]:
        one = next(coming)
        if isinstance(one, Exception):
            raise one
        for finding in one:
            yield finding

    async def sleep(seconds: float) -> None:
        about = "forebay_canary_queue_findings"
        shown.append({state: registry.get_sample_value(about, {"state": state}) or 0.0 for state in ("warn", "fail")})
        if len(shown) == len(looks):
            raise asyncio.CancelledError

    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await watch_queue(look, metrics.looked, sleep)
    return shown, [line.get("detail", line["event"]) for line in logs]


async def test_each_look_replaces_the_former_one() -> None:
    shown, _ = await watched([[found("fail"), found("fail", "too"), found("warn"), found("ok")], [found("ok")]])

    assert shown == [{"warn": 1, "fail": 2}, {"warn": 0, "fail": 0}]


async def test_what_must_be_mended_is_logged_once_for_as_long_as_it_lasts() -> None:
    _, logged = await watched(
        [[found("fail"), found("warn", "w")], [found("fail"), found("fail", "too")], [], [found("fail")]]
    )

    assert logged == ["so", "too", "so"]


async def test_a_look_that_comes_to_nothing_leaves_the_former_figures_and_the_next_one_is_tried() -> None:
    shown, logged = await watched([[found("fail")], ZeroDivisionError(), [found("fail"), found("warn")]])

    assert shown == [{"warn": 0, "fail": 1}, {"warn": 0, "fail": 1}, {"warn": 1, "fail": 1}]
    assert logged == ["so", "the queue could not be looked at"]
