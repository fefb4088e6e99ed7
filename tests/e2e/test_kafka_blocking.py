"""Handlers that hold their thread, or the whole loop, for several times as long as Kafka waits for a poll."""

import pytest

from tests.e2e.crew import crew
from tests.e2e.site import Site
from tests.kafka.fixtures import Kafka
from tests.order import judge

pytestmark = pytest.mark.kafka

#: A member that polls no more is out of its group after so long.
MAX_POLL_S = 2.0
SESSION_S = 1.5

#: Writes the book of tests/order.py. While there is a file that asks for it, one event takes so many seconds.
HANDLERS = """
import os
import time
from contextlib import suppress

from forebay import Handlers

handlers = Handlers()
book = os.open(os.environ["BOOK"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
{kind} handle(event):
    line = f"{{event.portal}} {{event.id}}#{{event.fields['data[FIELDS][ID]']}} {{os.getpid()}}\\n".encode()
    os.write(book, b"began " + line)
    with suppress(FileNotFoundError):
        os.rename("block", "blocked")
        time.sleep({seconds})
    os.write(book, b"ended " + line)
"""


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_handler_that_blocks_for_several_polls_costs_no_membership(
    kafka: Kafka, site: Site, monkeypatch: pytest.MonkeyPatch, kind: str, protocol: str
) -> None:
    monkeypatch.setenv("BOOK", str(site.folder / "handled.log"))
    settings = {"group.protocol": protocol, "max.poll.interval.ms": round(MAX_POLL_S * 1000)}
    async with crew(site, kafka.bootstrap, session_s=SESSION_S, kafka=settings) as made:
        (site.folder / "shop.py").write_text(HANDLERS.format(kind=kind, seconds=3 * MAX_POLL_S))
        made.start("a", "b")
        pids = {made.pid("a"), made.pid("b")}
        while {line.pid for line in made.book.read().lines} < pids:
            await made.send(20)
        (site.folder / "block").touch()
        await made.send(300)
        await made.ended()
        assert (site.folder / "blocked").exists()
        await made.stop("a")
        await made.stop("b")
        committed = await made.committed()

    verdict = judge(made.sent, made.book.read().lines)
    assert verdict.good, verdict
    assert verdict.again == []
    assert sum(committed.values()) == len(made.places)
    assert "lost" not in site.log("a") + site.log("b")
