"""The queue is gone, and then the spool's disk is full or fails."""

import asyncio
import errno
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kafka.cluster import Cluster

from .failing import Failing
from .hosts import counted
from .small_disks import small_disk
from .stand import LONG, SHORT, Size, Stand

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SIZES = pytest.mark.parametrize("size", [SHORT, pytest.param(LONG, marks=pytest.mark.faults)], ids=["short", "long"])

#: What the smallest spool takes, and some thousand events.
_MEGABYTES = 3


async def refused(stand: Stand) -> None:
    """Return when an answer has said that nothing can be kept."""
    while not any(status.startswith("503") for status in stand.portals.answers):
        await asyncio.sleep(0.05)


class Calls:
    """Calls one after the other, until one is refused."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.taken = 0
        #: The queue had them before it was known to be gone, and it alone can say what became of them.
        self.unanswered = 0

    def retry_after(self) -> str:
        """What the refusal tells its caller."""
        body = b"event=ONCRMDEALADD&data[FIELDS][ID]=1&auth[domain]=nobody.bitrix24.example"
        while True:
            try:
                # What is small may still fit where a larger one did not.
                urllib.request.urlopen(self._url, body, timeout=10).close()  # noqa: S310
                self.taken += 1
            except urllib.error.HTTPError as error:
                error.close()
                return str(error.headers["Retry-After"])
            except TimeoutError:
                self.unanswered += 1


@SIZES
async def test_a_full_disk_without_a_queue_refuses_calls_and_counts_each(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand], size: Size, tmp_path: Path
) -> None:
    cluster, fault = clusters(), f"spool: its disk of {_MEGABYTES} MB is full, and no broker"
    stand = stands(cluster.url, size)
    with small_disk(tmp_path / "disk", _MEGABYTES, stand.report, fault) as disk:
        stand.site.settings["data_dir"] = str(disk / "data")
        await stand.start()
        async with stand.loaded(), stand.fault():
            await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
            await refused(stand)
            calls = Calls(stand.site.url)
            hint = await asyncio.to_thread(calls.retry_after)
            await stand.meanwhile()
            cluster.nodes[0].start()
        told = {name: counted(stand.site, name) for name in ("accepted", "spooled", "refused_full")}
        row = await stand.judged(fault)
        assert stand.site.stop("ingest") == 0

    answered = {status for status in stand.portals.answers}
    assert answered == {"200 accepted", "503 not_kept"}
    assert int(hint) > 0
    assert told["refused_full"] == row.refused + 1
    assert 0 <= told["accepted"] + told["spooled"] - row.acknowledged - calls.taken <= calls.unanswered


@pytest.mark.faults
@pytest.mark.parametrize(
    ("what", "failure"),
    [
        ("ENOSPC on write", {"write": errno.ENOSPC}),
        ("EIO on write", {"write": errno.EIO}),
        ("ENOSPC on fsync", {"sync": errno.ENOSPC}),
        ("EIO on fsync", {"sync": errno.EIO}),
    ],
)
async def test_a_disk_that_fails_without_a_queue_costs_nothing_that_was_acknowledged(
    clusters: Callable[..., Cluster],
    stands: Callable[..., Stand],
    failing: Failing,
    what: str,
    failure: dict[str, int],
) -> None:
    cluster = clusters()
    stand = stands(cluster.url, LONG)
    stand.site.variables = failing.environ
    await stand.start()

    async with stand.loaded(), stand.fault():
        await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
        await stand.portals.answered(stand.size.meanwhile // 2)
        failing.fail(**failure)
        await refused(stand)
        await stand.portals.answered(stand.size.meanwhile // 4)
        failing.fail()
        taken = stand.portals.answers["200 accepted"]
        await stand.portals.answered(stand.size.meanwhile // 4)
        taken = stand.portals.answers["200 accepted"] - taken
        cluster.nodes[0].start()
    told = counted(stand.site, "refused_full")

    row = await stand.judged(
        f"spool: {what} for a while, and no broker",
        note=f"{failing.failures:,} system calls failed; the disk failed in a quarter of the fault, after a half",
    )
    assert failing.failures
    assert taken
    assert (told, row.unanswered) == (row.refused, 0)
