"""Members of a group: slow, still, stubborn, static and killed ones."""

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Commit
from forebay.queues.errors import Fenced, QueueUnavailable
from forebay.queues.kafka import group_client
from tests.integration.queues.members import STREAM
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import Kafka
from tests.kafka.members import PARTITIONS, SESSION_S, Owner, fetch, joined, send
from tests.kafka.opener import Opener

pytestmark = pytest.mark.kafka

PROTOCOLS = ("consumer", "classic")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("patience_s", [0.0, 3600.0], ids=["in a pause", "before it"])
async def test_a_member_that_fetches_nothing_keeps_its_place_and_its_memory(
    kafka: Kafka, opened: Opener, stream: str, protocol: str, patience_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_client, "_PATIENCE_S", patience_s)
    queue = opened(kafka.bootstrap, kafka={"group.protocol": protocol})
    # More than a member reads ahead.
    for key in ("a", "b", "c", "d"):
        await send(queue, stream, range(100), key, size=100_000)
    slow, second = await joined(queue, stream, first := Owner()), Owner()

    other = await joined(queue, stream, second, owns=2)
    await first.owns(2)
    await other.close()
    await first.owns(PARTITIONS)
    await slow.commit({partition: Commit(offset=0) for partition in first.owned})

    assert "lost" not in first.told
    assert sorted(await fetch(slow, 400)) == sorted(list(range(100)) * 4)
    assert await slow.fetch(10, 0.1) == []
    await slow.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_partitions_that_go_during_a_pause_and_come_back_after_it_are_read(
    kafka: Kafka, opened: Opener, stream: str, protocol: str
) -> None:
    queue = opened(kafka.bootstrap, kafka={"group.protocol": protocol})
    sent: Counter[int] = Counter()
    for key in ("a", "b", "c", "d", "e", "f", "g", "h"):
        sent[await send(queue, stream, range(50), key, size=100_000)] += 50
    slow = await joined(queue, stream, first := Owner())

    other = await joined(queue, stream, owns=2)
    await first.owns(2)
    # What is kept makes room, and so ends the pause.
    kept = await fetch(slow, sum(sent[partition] for partition in first.owned))
    await other.close()
    await first.owns(PARTITIONS)
    back = await fetch(slow, sent.total() - len(kept))

    assert sorted(kept + back) == sorted(list(range(50)) * 8)
    assert await slow.fetch(10, 0.1) == []
    await slow.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_loop_that_stands_still_for_sessions_loses_nothing(
    kafka: Kafka, opened: Opener, stream: str, protocol: str
) -> None:
    queue = opened(kafka.bootstrap, kafka={"group.protocol": protocol})
    partition = await send(queue, stream, range(10))
    consumer = await joined(queue, stream, owner := Owner())
    await fetch(consumer, 5)

    # A handler that blocks the loop is what this is about.
    time.sleep(2 * SESSION_S)

    await consumer.commit({partition: Commit(offset=5)})
    assert await fetch(consumer, 5) == [5, 6, 7, 8, 9]
    assert owner.told == ["assigned"] * PARTITIONS
    await consumer.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_partitions_not_given_back_in_time_are_lost(
    kafka: Kafka, opened: Opener, stream: str, protocol: str
) -> None:
    # No shorter than the session, or the client is not made.
    patience = {"max.poll.interval.ms": round(SESSION_S * 1000), "group.protocol": protocol}
    queue = opened(kafka.bootstrap, kafka=patience)

    class Stubborn(Owner):
        async def revoked(self, partition: int) -> None:
            await asyncio.Event().wait()

    consumer = await joined(queue, stream, stubborn := Stubborn())
    other = await joined(queue, stream, patient := Owner(), owns=2)

    await stubborn.is_told("lost", 2)
    with pytest.raises(Fenced):
        await consumer.commit({partition: Commit(offset=0) for partition in patient.owned})
    await other.close()
    await consumer.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_who_leaves_while_the_brokers_hang_waits_for_no_answer_of_theirs(
    clusters: Callable[..., Cluster], opened: Opener, protocol: str
) -> None:
    [node] = (cluster := clusters()).nodes
    queue = opened(cluster.bootstrap, kafka={"group.protocol": protocol})
    await queue.ensure([STREAM], PARTITIONS)

    class Impatient(Owner):
        async def revoked(self, partition: int) -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    await consumer.commit({partition: Commit(offset=0)})
            await super().revoked(partition)

    consumer, owner = queue.consumer(STREAM, "group"), Impatient()
    await consumer.start(owner)
    await owner.owns(PARTITIONS)

    node.signal(signal.SIGSTOP)
    try:
        # The client itself would wait for a minute.
        async with asyncio.timeout(30):
            await consumer.close()
    finally:
        node.signal(signal.SIGCONT)

    assert owner.told.count("revoked") == PARTITIONS


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_comes_and_goes_while_a_member_leaves_does_not_end_its_leaving(
    kafka: Kafka, opened: Opener, stream: str, protocol: str
) -> None:
    queue = opened(kafka.bootstrap, kafka={"group.protocol": protocol})
    inspector, late = queue.inspector(), queue.consumer(stream, stream, session_s=SESSION_S)

    async def held() -> int:
        """By the leaver, as the group has it."""
        states = await inspector.groups(stream)
        return [one.owner for one in states[stream].values()].count(its_name)

    class Slow(Owner):
        async def revoked(self, partition: int) -> None:
            if is_leaving:
                for one in others:
                    await one.close()
                while await held() < PARTITIONS:
                    await asyncio.sleep(0)
                await late.start(following)
                # Of what goes at least one is none that it has begun with.
                while await held() == PARTITIONS:
                    await asyncio.sleep(0)
                await leaver.commit({partition: Commit(offset=0)})
            await super().revoked(partition)

    is_leaving, following = False, Owner()
    leaver = await joined(queue, stream, slow := Slow())
    others = [await joined(queue, stream, owns=owns) for owns in (2, 1, 1)]
    await slow.owns(1)
    [of_its_own] = slow.owned
    its_name = (await inspector.groups(stream))[stream][of_its_own].owner
    given_back = slow.told.count("revoked")

    is_leaving = True
    with capture_logs() as logs:
        await leaver.close()

    assert slow.told.count("revoked") == given_back + 1
    assert "lost" not in slow.told
    assert [one for one in logs if one["log_level"] != "info"] == []
    await following.owns(PARTITIONS)
    await late.close()
    await inspector.close()


async def test_a_static_member_comes_back_to_its_partitions(kafka: Kafka, opened: Opener, stream: str) -> None:
    # So long its place is kept: on a machine that is busy it takes a while to come back.
    session_s = 30.0
    bystander = await joined(opened(kafka.bootstrap), stream, watching := Owner(), session_s=session_s)
    named = opened(kafka.bootstrap, group_instance_id="worker-1")
    consumer = await joined(named, stream, first := Owner(), owns=2, session_s=session_s)
    await watching.owns(2)
    before, told = set(first.owned), list(watching.told)

    await consumer.close()
    consumer = await joined(named, stream, again := Owner(), owns=2, session_s=session_s)

    assert set(again.owned) == before
    assert watching.told == told
    await consumer.close()
    await bystander.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ["", "worker-1"], ids=["nameless", "under its name"])
async def test_a_killed_members_partitions_are_taken_over(
    kafka: Kafka, opened: Opener, stream: str, protocol: str, name: str, tmp_path: Path
) -> None:
    queue = opened(kafka.bootstrap, kafka={"group.protocol": protocol}, group_instance_id=name)
    script = Path(__file__).with_name("join_forever.py")
    command = [sys.executable, str(script), kafka.bootstrap, stream, protocol, str(SESSION_S), name]
    partition = await send(queue, stream, range(3))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert await asyncio.to_thread(victim.stdout.readline) == b"committed\n"
        victim.send_signal(signal.SIGKILL)

    consumer = await joined(queue, stream, owner := Owner())

    assert owner.owned[partition] == Commit(offset=2, note=b"by the victim")
    with suppress(QueueUnavailable):
        # Until the session was over, the name may have been the victim's (KIP-848).
        await consumer.fetch(0, 0)
    assert await fetch(consumer, 1) == [2]
    await consumer.close()
