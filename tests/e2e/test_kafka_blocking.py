"""Handlers that hold their thread, or the whole loop, for several times as long as Kafka waits for a poll."""

import json

import pytest

from tests.e2e.crew import crew
from tests.e2e.site import Site
from tests.kafka.fixtures import Kafka
from tests.order import judge

pytestmark = pytest.mark.kafka

#: A member that polls no more is out of its group after so long.
MAX_POLL_S = 2.0
SESSION_S = 1.5

#: Writes the book of tests/order.py; the events whose numbers are in BLOCKING take so many seconds.
HANDLERS = """
import json
import os
import time

from forebay import Handlers

handlers = Handlers()
book = os.open(os.environ["BOOK"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
blocking = json.loads(os.environ["BLOCKING"])


@handlers.on("*")
{kind} handle(event):
    number = event.fields["data[FIELDS][ID]"]
    line = f"{{event.portal}} {{event.id}}#{{number}} {{os.getpid()}}\\n".encode()
    os.write(book, b"began " + line)
    time.sleep(blocking.get(number, 0))
    os.write(book, b"ended " + line)
"""


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_handler_that_blocks_for_several_polls_costs_no_membership(
    kafka: Kafka, site: Site, monkeypatch: pytest.MonkeyPatch, kind: str, protocol: str
) -> None:
    monkeypatch.setenv("BOOK", str(site.folder / "handled.log"))
    monkeypatch.setenv("BLOCKING", json.dumps({"100": 3 * MAX_POLL_S}))
    settings = {"group.protocol": protocol, "max.poll.interval.ms": round(MAX_POLL_S * 1000)}
    async with crew(site, kafka.bootstrap, session_s=SESSION_S, kafka=settings) as made:
        (site.folder / "shop.py").write_text(HANDLERS.format(kind=kind))
        made.start("a", "b")
        await made.works("a", 0)
        await made.send(300)
        await made.ended()
        await made.stop("a")
        await made.stop("b")
        committed = await made.committed()

    verdict = judge(made.sent, made.book.read().lines)
    assert verdict.good, verdict
    assert verdict.again == []
    assert sum(committed.values()) == 300
    assert "lost" not in site.log("a") + site.log("b")
