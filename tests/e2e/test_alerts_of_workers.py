"""The alerts about workers that were started again, or that have gone, on what real ones show."""

import asyncio
import signal
import time
from functools import partial
from pathlib import Path

from tests.prometheus.scraped import fires, scrape

from .site import Site
from .watched import PARTITIONS, has_all, put, shown, value, worker

#: More than the rule allows an hour.
GIVEN_UP = 20


def test_letters_that_were_written_before_anybody_has_looked_count(site: Site, tmp_path: Path) -> None:
    asyncio.run(put(site, [0] * GIVEN_UP))
    began = time.time()
    port = worker(site, "one")
    rejected = partial(value, series='forebay_dead_total{reason="rejected"}')
    site.wait("the letters", lambda: rejected(shown(port)) >= GIVEN_UP)
    looked = scrape({"w-0": shown(port)})

    assert fires("ForebayDeadLetters", [looked], tmp_path, at_m=2, began=began, reason="rejected")
    assert not fires("ForebayDeadLetters", [looked], tmp_path, at_m=62, began=began, reason="rejected")


def test_a_group_that_has_begun_anew_is_told_of_when_its_worker_is_started_again(site: Site, tmp_path: Path) -> None:
    asyncio.run(put(site, [0]))
    scrapes, began = [], time.time()
    for _ in range(2):
        port = worker(site, "one")
        site.wait("its partitions", partial(has_all, port))
        scrapes.append(scrape({"w-0": shown(port)}))
        site.running["one"].send_signal(signal.SIGTERM)
        site.running["one"].wait()

    assert fires("ForebayOffsetReset", scrapes, tmp_path, at_m=3, began=began)
    assert fires("ForebayOffsetReset", scrapes, tmp_path, at_m=50, began=began)
    assert not fires("ForebayOffsetReset", scrapes, tmp_path, at_m=62, began=began)


def test_the_last_worker_is_missed_and_no_other(site: Site, tmp_path: Path) -> None:
    ports = {name: worker(site, name) for name in ("one", "another")}

    def all_shown() -> dict[str, str]:
        return {name: text for name, port in ports.items() if (text := shown(port))}

    def owned() -> int:
        lines = "".join(all_shown().values()).splitlines()
        return sum(float(line.split()[-1]) > 0 for line in lines if line.startswith("forebay_assigned_timestamp"))

    scrapes = []
    for name in ports:
        site.wait("their partitions", lambda: owned() == PARTITIONS)
        scrapes.append(scrape(all_shown()))
        site.running[name].send_signal(signal.SIGKILL)
        site.running[name].wait()

    assert not fires("ForebayWorkersGone", scrapes, tmp_path, at_m=30)
    assert fires("ForebayWorkersGone", [*scrapes, scrape(all_shown())], tmp_path, at_m=30)
