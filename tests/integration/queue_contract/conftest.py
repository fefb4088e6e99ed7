"""The queues that the contract's tests run on, and their parts."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.queues.contract import Consumer, Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queue_contract.parts import PARTITIONS, STREAM
from tests.integration.queue_fixtures import inspector as inspector
from tests.integration.queue_fixtures import producer as producer
from tests.integration.systems import SYSTEMS, of_every_system


@pytest.fixture(params=of_every_system())
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> QueueSettings:
    return SYSTEMS[request.param](tmp_path, request)


@pytest.fixture
async def queue(settings: QueueSettings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Queue]:
    """An empty queue; a member that a failed test leaves behind would keep the next one from being so."""
    queue, consumers = open_queue(settings), list[Consumer]()
    make = queue.consumer

    def consumer(stream: str, group: str, **options: float) -> Consumer:
        consumers.append(make(stream, group, **options))
        return consumers[-1]

    monkeypatch.setattr(queue, "consumer", consumer)
    await queue.ensure([STREAM], PARTITIONS)
    yield queue
    for one in consumers:
        await one.close()
    await queue.close()
