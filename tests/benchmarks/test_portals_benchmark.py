"""What 100,000 portals cost: reading them at a start, a look for a token, and memory."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forebay.queues.opening import open_queue
from forebay.queues.portals import facts
from forebay.queues.portals.contract import Fact
from forebay.queues.portals.facts import Key
from forebay.queues.portals.tokens import TokenKeys
from forebay.queues.settings import QueueSettings
from tests.kafka.fixtures import Kafka

PORTALS = 100_000
TOPIC, APPLICATION = "events", "app.5a1b2c3d4e5f60.12345678"
KEYS = {"2026": b"k" * 32}

_MEASURE = """
import asyncio, gc, resource, sys, time, timeit
from forebay.queues.opening import open_queue
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.tokens import TokenKeys
from forebay.queues.settings import QueueSettings

def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6

async def measure(url):
    queue = open_queue(QueueSettings(queue_url=url, topic="events"))
    registry = PortalRegistry(queue.portals("events"), TokenKeys({"2026": b"k" * 32}))
    gc.collect()
    before, began, cpu = megabytes(), time.perf_counter(), time.process_time()
    registry.open()
    await registry.following.reached(-1, 300)
    took, used = time.perf_counter() - began, time.process_time() - cpu
    gc.collect()
    print(f"  {len(registry.following.book.members):,} portals read in {took:.1f} s ({used:.1f} s CPU), "
          f"{megabytes() - before:.0f} MB")
    member, token = f"{77:032x}", f"token-{77:026}"
    application = "app.5a1b2c3d4e5f60.12345678"
    assert registry.find(application, member, token).proof
    pins, digest = registry.following.book.pins, registry.keys.digest(application, member, token)
    for name, call in (("hash and look", lambda: registry.find(application, member, token)),
                       ("the look alone", lambda: pins.get(digest)),
                       ("unknown token", lambda: registry.find(application, member, "x" * 32))):
        best = min(timeit.repeat(call, number=50_000, repeat=9, timer=time.process_time)) / 50_000 * 1e6
        print(f"  {name}: {best:.2f} µs CPU")
    await registry.close()
    await queue.close()

asyncio.run(measure(sys.argv[1]))
"""


def said(number: int, keys: TokenKeys) -> list[Fact]:
    """What the ingest writes of a portal that is verified."""
    member, token = f"{number:032x}", f"token-{number:026}"
    digest, domain = keys.digest(APPLICATION, member, token).hex(), f"portal-{number}.bitrix24.com"
    proof = {"app": APPLICATION, "key": "2026", "domain": domain, "at": 1_800_000_000_000, "how": "app.info"}
    return [
        facts.fact(Key(member, "", facts.PROOF, digest), proof),
        facts.fact(Key(member, "", facts.HOME, f"{number:012x}"), {"portal": domain}),
    ]


async def fill(settings: QueueSettings) -> None:
    queue, keys = open_queue(settings), TokenKeys(KEYS)
    store = queue.portals(TOPIC)
    await store.ensure()
    for first in range(0, PORTALS, 1000):
        await store.put([one for number in range(first, first + 1000) for one in said(number, keys)])
    await store.close()
    await queue.close()


@pytest.mark.benchmark
@pytest.mark.timeout(600)
@pytest.mark.parametrize("system", ["sqlite", "postgresql", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_a_hundred_thousand_portals(system: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if system == "sqlite":
        url = f"sqlite:///{tmp_path}/queue.db"
    elif system == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    else:
        kafka: Kafka = request.getfixturevalue("kafka")
        kafka.empty()
        url = f"kafka://{kafka.bootstrap}"
    settings = QueueSettings(queue_url=url, topic=TOPIC, data_dir=tmp_path)
    began = time.perf_counter()
    asyncio.run(fill(settings))
    print(f"\n{system}: {PORTALS:,} portals written in {time.perf_counter() - began:.1f} s")
    subprocess.run([sys.executable, "-c", _MEASURE, url], check=True, env=os.environ)
