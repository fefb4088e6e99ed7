"""Records a second that one worker handles, beside the cost of nothing but decoding their heads.

    pytest tests/benchmarks/test_worker_speed.py -s

The memory queue costs little, so what is seen is the worker. Compare the ratios: rates are the machine's.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from forebay import PortalEvent
from tests.benchmarks.one_worker import PORTALS, decoding_us, measured


async def trivial(event: PortalEvent) -> None:
    assert event.portal
    assert event.name


async def reads_data(event: PortalEvent) -> None:
    assert event.data


async def five_ms(event: PortalEvent) -> None:
    await asyncio.sleep(0.005)


def in_thread(event: PortalEvent) -> None:
    assert event.name


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("what", "handler", "records", "concurrency"),
    [
        ("a trivial handler", trivial, 100_000, 256),
        ("a handler that reads event.data", reads_data, 50_000, 256),
        ("a handler that waits 5 ms", five_ms, 60_000, 1000),
        ("a def, in threads", in_thread, 10_000, 256),
    ],
)
def test_records_a_second(what: str, handler: Callable[[PortalEvent], Any], records: int, concurrency: int) -> None:
    head_us = decoding_us()

    rate, cpu_us = uvloop.run(measured(records, handler, concurrency))

    print(f"\n{what}: {rate:,.0f}/s, {cpu_us:.1f} µs CPU, of which decoding the head {head_us:.1f}", end=" ")
    print(f"(ratio to decoding alone {cpu_us / head_us:.2f}); {PORTALS} portals, {concurrency} at once")
    assert rate > 0
