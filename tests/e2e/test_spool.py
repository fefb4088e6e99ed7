"""A real ingest on a real Kafka that hangs, goes and comes back: every answer is 200, and the order holds."""

import asyncio
import json
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from forebay.console.traffic.connection import Connection, target_of
from forebay.queues.errors import QueueUnavailable
from tests.e2e.site import Site, open_site
from tests.e2e.standing import ids
from tests.kafka.cluster import Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

PORTALS = 10


class Portals:
    """Each sends one event after the other, over connections that any worker may have."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._sequence = 0
        self.kept: dict[str, list[str]] = defaultdict(list)
        self.answers: Counter[str] = Counter()

    async def send(self, events: int) -> None:
        """So many events of each portal."""
        await asyncio.gather(*(self._send(f"p{portal}.bitrix24.ru", events) for portal in range(PORTALS)))

    async def _send(self, portal: str, events: int) -> None:
        ways = [Connection(target_of(self._site.url)) for _ in range(3)]
        for number in range(events):
            self._sequence += 1
            body = f"event=ONCRMDEALADD&data[FIELDS][ID]={self._sequence}&auth[domain]={portal}".encode()
            answer = await ways[number % 3].post(body)
            self.answers[f"{answer.status}"] += 1
            if answer.status == 200:
                self.kept[portal].append(json.loads(answer.body)["id"])
        for way in ways:
            way.close()


@pytest.fixture
def cluster(clusters: Callable[..., Cluster]) -> Cluster:
    return clusters()


@pytest.fixture
def site(tmp_path: Path, cluster: Cluster) -> Iterator[Site]:
    (tmp_path / "site").mkdir()
    with open_site(tmp_path / "site") as made:
        made.settings |= {"queue_url": f"kafka://{cluster.bootstrap}", "auth": "none"}
        yield made


def state(site: Site, *options: str) -> dict[str, object]:
    """What `forebay spool status` says."""
    found: dict[str, object] = json.loads(site.run("spool", "status", "--json", *options).stdout)
    return found


def drained(site: Site) -> None:
    site.wait("the end of the drain", lambda: state(site)["records"] == 0)


async def in_queue(site: Site) -> dict[str, list[str]]:
    while True:
        try:
            return await ids(site)
        except QueueUnavailable:
            await asyncio.sleep(0.1)


def drainer(site: Site) -> int:
    """The worker that has the lock."""
    inode = (Path(site.settings["data_dir"]) / "spool" / "draining.lock").stat().st_ino
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return next(int(words[4]) for words in locks if words[5].endswith(f":{inode}"))


def is_open(site: Site) -> bool:
    return "the queue is open" in site.log("ingest")


async def test_while_the_broker_hangs_events_are_answered_and_afterwards_stand_in_their_order(
    site: Site, cluster: Cluster
) -> None:
    site.start("ingest", "ingest", "--processes", "2")
    await asyncio.to_thread(site.wait, "the queue", lambda: is_open(site))
    portals = Portals(site)
    await portals.send(5)
    await asyncio.to_thread(drained, site)

    cluster.nodes[0].signal(signal.SIGSTOP)
    await portals.send(10)
    held = state(site)
    ready = site.is_ready()
    cluster.nodes[0].signal(signal.SIGCONT)
    await portals.send(5)
    await asyncio.to_thread(drained, site)

    assert portals.answers == {"200": 20 * PORTALS}
    assert (held["records"], held["portals"], held["state"]) == (10 * PORTALS, PORTALS, "draining")
    assert ready
    assert await in_queue(site) == portals.kept
    assert site.stop("ingest") == 0


#: A user who may do nothing without an ACL, and that for each of our topics.
CAROL = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "carol",
    "sasl.password": "carol-pw",
}
OURS = (ResourceType.TOPIC, "bitrix24.events", ResourcePatternType.PREFIXED, "User:carol", "*")


def give(cluster: Cluster, right: AclOperation) -> None:
    with AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0}) as admin:
        admin.create_acls([made := AclBinding(*OURS, right, AclPermissionType.ALLOW)])[made].result(30)


def take(cluster: Cluster, right: AclOperation) -> None:
    with AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0}) as admin:
        admin.delete_acls([gone := AclBindingFilter(*OURS, right, AclPermissionType.ALLOW)])[gone].result(30)


async def test_a_right_to_write_that_is_taken_and_given_back_costs_no_event_and_no_order(
    site: Site, cluster: Cluster
) -> None:
    for right in (AclOperation.CREATE, AclOperation.DESCRIBE, AclOperation.WRITE):
        give(cluster, right)
    site.settings |= {"queue_url": f"kafka://{cluster.sasl_bootstrap}", "kafka": json.dumps(CAROL)}
    site.start("ingest", "ingest")
    await asyncio.to_thread(site.wait, "the queue", site.has_its_queue)
    portals = Portals(site)
    await portals.send(3)

    take(cluster, AclOperation.WRITE)
    # Until the brokers heed it.
    while site.has_its_queue() and portals.answers.keys() == {"200"}:
        await portals.send(1)
    await portals.send(5)
    told = site.parts()["queue"]
    give(cluster, AclOperation.WRITE)
    await asyncio.to_thread(site.wait, "the queue again", site.has_its_queue)
    await portals.send(3)

    assert portals.answers.keys() == {"200"}
    assert "kafka-acls" in told
    site.settings |= {"queue_url": cluster.url, "kafka": "{}"}
    await asyncio.to_thread(drained, site)
    assert await in_queue(site) == portals.kept
    assert site.stop("ingest") == 0


async def test_a_killed_broker_and_then_the_killed_drainer_cost_no_event_and_no_order(
    site: Site, cluster: Cluster
) -> None:
    site.start("ingest", "ingest", "--processes", "2")
    await asyncio.to_thread(site.wait, "the queue", lambda: is_open(site))
    portals = Portals(site)
    await portals.send(3)

    await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
    await portals.send(5)
    os.kill(drainer(site), signal.SIGKILL)
    await asyncio.to_thread(site.wait, "another worker", lambda: len(site.workers()) == 2 and site.is_ready())
    await portals.send(5)
    cluster.nodes[0].start()
    await asyncio.to_thread(cluster.wait_ready)
    await portals.send(3)
    await asyncio.to_thread(drained, site)

    assert portals.answers == {"200": 16 * PORTALS}
    found = {portal: list(dict.fromkeys(ids)) for portal, ids in (await in_queue(site)).items()}
    assert found == portals.kept
    assert site.stop("ingest") == 0


async def test_an_ingest_that_never_saw_its_queue_takes_events_stops_and_another_host_adopts_them(
    site: Site, cluster: Cluster, tmp_path: Path
) -> None:
    await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
    site.start("ingest", "ingest")
    await asyncio.to_thread(site.wait, "the ingest", site.is_ready)
    portals = Portals(site)
    await portals.send(4)

    status = site.stop("ingest")
    held = state(site)
    cluster.nodes[0].start()
    await asyncio.to_thread(cluster.wait_ready)
    whole = site.run("spool", "verify")
    former, site.settings["data_dir"] = site.settings["data_dir"], str(tmp_path / "new")
    adopted = site.run("spool", "drain", "--data-dir", former, "--json")

    assert status == 0
    assert portals.answers == {"200": 4 * PORTALS}
    assert (held["records"], held["state"]) == (4 * PORTALS, "orphaned")
    assert whole.returncode == 0, whole.stderr
    assert adopted.returncode == 0, adopted.stderr
    assert json.loads(adopted.stdout) == {"sent": 4 * PORTALS, "left": 0}
    assert await in_queue(site) == portals.kept
