"""A queue that can't be read again parks no portal: what needs that is refused at the start, and the rest is told."""

from dataclasses import replace
from typing import Any, Literal

import pytest
from structlog.testing import capture_logs

from forebay import Handlers, PortalEvent
from forebay.processors.errors import BadHandler
from forebay.processors.settings import WorkerSettings
from forebay.processors.worker import Worker
from forebay.queues.memory import MemoryQueue


class Forgetful(MemoryQueue):
    promises = replace(MemoryQueue.promises, replay=False)


def handlers(**options: Any) -> Handlers:
    made = Handlers()

    @made.on("*", **options)
    async def shop(event: PortalEvent) -> None: ...

    return made


@pytest.mark.parametrize(("setting", "option"), [("dead", "hold"), ("hold", None)])
def test_holding_a_portal_is_refused(setting: Literal["dead", "hold"], option: str | None) -> None:
    with pytest.raises(BadHandler, match=r"give_up: hold, of .*shop"):
        Worker(WorkerSettings(give_up=setting), handlers(give_up=option), Forgetful())


def test_that_tries_end_in_memory_is_told() -> None:
    with capture_logs() as lines:
        Worker(WorkerSettings(memory_tries=4), handlers(), Forgetful())

    assert [line["after_tries"] for line in lines if "not parked" in line["event"]] == [4]


def test_of_a_queue_that_parks_nothing_is_told() -> None:
    with capture_logs() as lines:
        Worker(WorkerSettings(give_up="hold"), handlers(), MemoryQueue())

    assert lines == []
