"""The canary notices what an administrator changes at a real Kafka while everything runs."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import ResourceType  # type: ignore[attr-defined]  # it is public, but in no __all__

from forebay.console.checks.queue import queue_findings
from forebay.console.checks.watch import watch_queue
from forebay.console.settings import load_settings
from forebay.queues.findings import Finding
from forebay.queues.opening import open_queue
from forebay.schemas import names
from tests.integration.kafka.sent import altered
from tests.kafka.fixtures import Kafka

pytestmark = pytest.mark.kafka


async def test_a_stream_that_is_compacted_from_now_on_is_told_at_the_next_look(kafka: Kafka, tmp_path: Path) -> None:
    topic, partitions = f"events-{uuid4().hex[:12]}", 2
    given = {"queue_url": f"kafka://{kafka.bootstrap}", "topic": topic, "partitions": partitions}
    settings = load_settings(options={**given, "data_dir": str(tmp_path)}, environ={}).settings
    queue = open_queue(settings)
    await queue.ensure(names.streams(topic), partitions)
    await queue.close()
    failed: list[list[str]] = []
    policies = iter(("compact", "compact,delete", "delete"))

    def looked(found: list[Finding]) -> None:
        failed.append([f"{one.check}: {one.detail} -> {one.remedy}" for one in found if one.state == "fail"])

    async def administrator(seconds: float) -> None:
        if (policy := next(policies, None)) is None:
            raise asyncio.CancelledError
        await altered(kafka, ResourceType.TOPIC, names.parked(topic), "cleanup.policy", policy)

    with pytest.raises(asyncio.CancelledError):
        await watch_queue(lambda: queue_findings(settings, "canary"), looked, administrator)

    counts = [len(one) for one in failed]
    assert counts == [0, 1, 1, 0], failed
    [told] = failed[1]
    assert f"topic {names.parked(topic)}: cleanup.policy is compact: all but a portal's last event" in told
    assert told.endswith(f"--entity-name {names.parked(topic)} --add-config cleanup.policy=delete")
