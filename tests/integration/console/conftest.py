"""Operators at a queue that real workers work on."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog

from forebay.console.orders import parked as parked_orders
from forebay.console.orders import replaying
from forebay.console.settings import Settings
from forebay.queues.opening import open_queue
from forebay.schemas import names

from .night import Night
from .site import PARTITIONS, Site


@pytest.fixture(params=["memory", "sqlite"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    for module, name in ((parked_orders, "_LOOK_S"), (replaying, "_LOOK_S")):
        # Operators are told by the second, which is what most of these tests would wait for.
        monkeypatch.setattr(module, name, 0.05)
    url = f"memory://{uuid4().hex}" if request.param == "memory" else f"sqlite:///{tmp_path}/queue.db"
    settings = Settings(queue_url=url, partitions=PARTITIONS, data_dir=tmp_path)
    queue = open_queue(settings)
    await queue.ensure(names.streams(settings.topic), PARTITIONS)
    made = Site(settings=settings, queue=queue, producer=queue.producer())
    yield made
    for worker in list(made.running):
        await made.stop(worker)
    await made.producer.close()
    await queue.close()


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOREBAY_PARTITIONS", str(PARTITIONS))
    # While a command runs, standard output is the command's.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    made = Night(tmp_path)
    yield made
    made.close()
    structlog.reset_defaults()
