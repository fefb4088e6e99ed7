"""A real ingest whose Kafka is gone and whose spool is full: what it refused, its portals are told afterwards."""

import asyncio
import json
import os
import signal
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forebay.console.traffic.connection import Connection, target_of
from forebay.schemas.names import GAP
from tests.answers import metrics_of
from tests.e2e.site import Site, open_site
from tests.e2e.standing import standing
from tests.kafka.cluster import Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

PORTALS = [f"p{number}.bitrix24.ru" for number in range(5)]

#: The smallest spool, and a text of which a few fill it.
SPOOL_BYTES, TEXT = 1 << 20, "x" * 100_000


@pytest.fixture
def cluster(clusters: Callable[..., Cluster]) -> Cluster:
    return clusters()


@pytest.fixture
def site(tmp_path: Path, cluster: Cluster) -> Iterator[Site]:
    with open_site(tmp_path) as made:
        made.settings |= {"queue_url": f"kafka://{cluster.bootstrap}", "auth": "none"}
        made.settings["spool_max_bytes"] = str(SPOOL_BYTES)
        yield made


class Sender:
    """Sends events of all portals, and keeps the account of their answers."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.kept: dict[str, list[str]] = defaultdict(list)
        self.refused: Counter[str] = Counter()

    async def send(self, rounds: int, text: str = "") -> None:
        way = Connection(target_of(self._site.url))
        for _ in range(rounds):
            for portal in PORTALS:
                answer = await way.post(f"event=ONCRMDEALADD&data[TEXT]={text}&auth[domain]={portal}".encode())
                if answer.status == 200:
                    self.kept[portal].append(json.loads(answer.body)["id"])
                else:
                    assert answer.status == 503, answer
                    self.refused[portal] += 1
        way.close()


def kill(site: Site) -> None:
    """kill -9, workers first: a worker that sees its master die may say something yet."""
    master = site.running["ingest"]
    for worker in Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split():
        os.kill(int(worker), signal.SIGKILL)
    master.kill()
    master.wait()


def metric(site: Site, name: str) -> float:
    lines = metrics_of(site.port).splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"forebay_{name} ")))


async def test_what_was_refused_while_queue_and_spool_took_nothing_is_told_also_after_a_kill(
    site: Site, cluster: Cluster
) -> None:
    site.start("ingest", "ingest")
    await asyncio.to_thread(site.wait, "the queue", lambda: "the queue is open" in site.log("ingest"))
    sender = Sender(site)
    await sender.send(1)

    await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
    await sender.send(5, TEXT)
    kill(site)
    site.start("ingest", "ingest", "--processes", "2")
    await asyncio.to_thread(site.wait, "the ingest", lambda: is_live(site))
    await sender.send(2, TEXT)
    cluster.nodes[0].start()
    await asyncio.to_thread(cluster.wait_ready)
    await asyncio.to_thread(site.wait, "the markers", lambda: not metric(site, "ingest_gaps_waiting"))
    await asyncio.to_thread(site.wait, "the end of the drain", lambda: not metric(site, "spool_records"))
    await sender.send(1)

    events = await standing(site)
    assert sender.refused.total() >= 2 * len(PORTALS)
    for portal in PORTALS:
        of_portal = events[portal]
        markers = [event for event in of_portal if event.name == GAP]
        assert sum(int(event.fields["data[COUNT]"]) for event in markers) == sender.refused[portal]
        assert list(dict.fromkeys(event.id for event in of_portal if event.name != GAP)) == sender.kept[portal]
        # They stand behind all that was kept before the gap, and before what came when it was over.
        assert of_portal[-1].id == sender.kept[portal][-1]
        first = next(number for number, event in enumerate(of_portal) if event.name == GAP)
        assert {event.id for event in of_portal[:first]} >= set(sender.kept[portal][:-1])
    assert site.stop("ingest") == 0


def is_live(site: Site) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/live", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
