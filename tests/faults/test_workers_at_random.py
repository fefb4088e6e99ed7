"""Workers and faults that come together, by chance: a server that hangs, a death, portals whose handlers fail, and what
operators order meanwhile."""

import pytest

from tests.e2e.crew import crew
from tests.e2e.site import Site
from tests.e2e.trouble import EVERY_KIND, KINDS, LADDER

from .broken_crew import broken
from .chance import Chance
from .reporting import Report, Row
from .under import Under, every_queue

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

_WORKERS = ("a", "b", "c")

#: Events a second, for so many seconds.
_RATE, _SECONDS = 150.0, 90.0


@pytest.mark.parametrize("under", every_queue("kafka (consumer)", "kafka (classic)"), indirect=True)
async def test_faults_that_come_together_cost_workers_no_event_and_no_order(
    under: Under, chance: Chance, site: Site, report: Report
) -> None:
    settings = {**LADDER, **under.settings, "drain_s": 5, "deadline_s": 1, "cpu_processes": 1}
    async with crew(site, under.url, **settings) as made:
        (site.folder / "shop.py").write_text(EVERY_KIND)
        made.names = KINDS
        verdict = await broken(made, chance, site, _WORKERS, under.hands, rate=_RATE, seconds=_SECONDS)

    row = Row.handled(
        f"everything: queue, network, workers, handlers and operators, by chance, several at a time ({under.system})",
        len(made.places),
        verdict,
        bound=None,
        note="150 events a second of 40 portals, 3 workers; twice: came to a handler again, as ordered, or since it "
        f"could not be committed while the queue was away; {chance.told}",
    )
    report.add(row)
    print(row)
    assert verdict.good, verdict
