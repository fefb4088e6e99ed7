"""The alerts about refusals and the spool, on what real ingests show."""

import asyncio
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from forebay.ingest.spool.spool import Spool
from forebay.processors.testing import event
from forebay.queues.contract import Record
from forebay.schemas.codec import codec
from tests.answers import called
from tests.prometheus.scraped import Scrape, fires, scrape

from .site import Site
from .watched import CUT_OFF, refused, shown, value

BODY = b"event=ONCRMDEALADD&auth[domain]=a.bitrix24.example&auth[application_token]="

#: More than the rule allows an hour.
STRANGERS = 70

Look = Callable[[], Scrape]


@pytest.fixture
def look(site: Site) -> Look:
    """What the ingest shows just now."""
    return lambda: scrape({"i-0": shown(site.port)})


def start(site: Site) -> None:
    site.start("ingest", "ingest")
    site.wait("the ingest", lambda: bool(shown(site.port)))


def test_calls_that_are_refused_use_up_the_budget_fast_and_slowly(site: Site, look: Look, tmp_path: Path) -> None:
    site.settings |= CUT_OFF
    start(site)
    scrapes = [look()]
    site.wait("a call that is refused", partial(refused, site.port))
    scrapes.append(look())

    assert fires("ForebayAnswersBudgetBurnsFast", scrapes, tmp_path, at_m=4)
    assert not fires("ForebayAnswersBudgetBurnsFast", scrapes, tmp_path, at_m=10)
    assert fires("ForebayAnswersBudgetBurnsSlowly", scrapes, tmp_path, at_m=20)
    assert not fires("ForebayAnswersBudgetBurnsSlowly", scrapes, tmp_path, at_m=50)


def test_calls_with_a_wrong_token_are_told_of_when_they_are_many(site: Site, look: Look, tmp_path: Path) -> None:
    site.settings |= {"tokens": '{"*": "of-the-application"}'}
    start(site)
    scrapes = [look()]
    for _ in range(STRANGERS):
        assert called(site.url, BODY + b"anothers")[0] == 403
    scrapes.append(look())
    site.wait("its queue", site.has_its_queue)
    assert called(site.url, BODY + b"of-the-application")[0] == 200
    scrapes.append(look())

    assert fires("ForebayCallsRefused", scrapes, tmp_path, at_m=20)
    assert not fires("ForebayCallsRefused", scrapes[:1], tmp_path, at_m=20)


def test_a_spool_that_is_full_takes_nothing_and_is_missed_when_its_ingest_goes(
    site: Site, look: Look, tmp_path: Path
) -> None:
    site.settings |= CUT_OFF
    start(site)
    scrapes = [look()]
    site.wait("a call that is refused", partial(refused, site.port))
    scrapes.append(look())
    site.running["ingest"].send_signal(signal.SIGKILL)
    site.running["ingest"].wait()

    for alert in ("ForebaySpoolNearlyFull", "ForebaySpoolUnavailable"):
        assert fires(alert, scrapes, tmp_path, at_m=5, instance="i-0")
        assert not fires(alert, scrapes[:1], tmp_path, at_m=5, instance="i-0")
    assert fires("ForebaySpoolLeft", [*scrapes, scrape({})], tmp_path, at_m=40, instance="i-0")
    assert not fires("ForebaySpoolLeft", scrapes, tmp_path, at_m=40, instance="i-0")


async def spooled(folder: Path, age_s: float) -> None:
    """An event that was received so long ago."""
    await (spool := Spool(folder, 1 << 20)).open()
    made, kept = event("ONCRMDEALADD", portal="a.bitrix24.example"), asyncio.Event()
    at_ms = round((time.time() - age_s) * 1000)
    record = Record(key=made.portal, value=codec().encode(made), timestamp_ms=at_ms)
    spool.put("bitrix24.events", record, lambda outcome: kept.set())
    await kept.wait()
    await spool.close()


def test_what_stays_in_the_spool_is_told_of(site: Site, look: Look, tmp_path: Path) -> None:
    asyncio.run(spooled(tmp_path / "data", 600))
    site.settings |= CUT_OFF
    start(site)
    site.wait("its age", lambda: value(shown(site.port), "forebay_spool_oldest_seconds") > 600)
    scrapes = [look() for _ in range(3)]

    assert fires("ForebaySpoolGrowing", scrapes, tmp_path, at_m=10, instance="i-0")
    assert not fires("ForebaySpoolGrowing", scrapes, tmp_path, at_m=3, instance="i-0")
