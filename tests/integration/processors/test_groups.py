"""Several groups on one topic: each has its own offsets, tries and dead letters."""

from typing import Any

from prometheus_client import CollectorRegistry

from forebay import Handlers, PortalEvent
from forebay.processors.metrics import metrics_of
from forebay.schemas import names
from tests.waiting import until

TOPIC = "bitrix24.events"


async def test_what_fails_in_one_group_is_done_in_the_other(station: Any, handlers: Handlers) -> None:
    done: list[str] = []

    @handlers.on("*", tries=2)
    async def shop(event: PortalEvent) -> None:
        if event.portal == "ill":
            raise ConnectionError("the portal's API is down")

    @handlers.on("*", group="audit")
    async def audit(event: PortalEvent) -> None:
        done.append(event.portal)

    def committed(group: str) -> int:
        return sum(one.offset for one in station.queue.group_states[TOPIC, group].commits.values())

    for portal in ("ill", "well", "ill"):
        await station.send(portal)
    metrics = metrics_of(["forebay", "audit"], CollectorRegistry())
    both = station.handlers
    station.handlers = both.of(None)
    station.start(metrics=metrics["forebay"])
    station.handlers = both.of("audit")
    station.start(metrics=metrics["audit"], group="audit")
    await until(lambda: committed("forebay") == committed("audit") == 3)

    assert sorted(done) == ["ill", "ill", "well"]
    letters = [dict(letter.headers) for letter in station.dead()]
    assert [letter[names.DEAD_GROUP] for letter in letters] == [b"forebay"] * 2
    assert metrics["forebay"].dead.labels("failed")._value.get() == 2
    assert metrics["audit"].dead.labels("failed")._value.get() == 0
