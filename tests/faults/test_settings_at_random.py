"""Workers with settings that are drawn by chance, often the least that can be set, and more than they get through."""

import re
from collections.abc import Mapping, Sequence

import pytest

from tests.e2e.crew import crew
from tests.e2e.site import Site
from tests.e2e.trouble import EVERY_KIND, KINDS, LADDER

from .broken_crew import broken
from .chance import Chance
from .under import Under, every_queue

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

_WORKERS = ("a", "b")

#: Events a second, for so many seconds.
_RATE, _SECONDS = 60.0, 20.0

_DRAWN: Mapping[str, Sequence[float | str]] = {
    "concurrency": (1, 2, 7, 256),
    "threads": (1, 2, 16),
    "cpu_processes": (1, 2),
    "deadline_s": (1, 30),
    "memory_tries": (1, 2, 5),
    "retry_first_s": (0, 0.0003, 0.01, 0.5),
    "retry_longest_s": (0.5, 1),
    "retry_total_s": (0, 0.01, 1, 30),
    "park_first_s": (0.001, 0.3),
    "park_longest_s": (0.3, 1),
    "give_up": ("dead", "hold"),
    "max_lane_records": (1, 2, 20, 1000),
    "max_held_records": (1, 2, 50, 20_000),
    "max_held_bytes": (1, 1000, 1 << 27),
    "commit_interval_s": (0.001, 0.05, 1),
    "drain_s": (0, 0.01, 5),
}

#: The same of what the handlers have: how long a call takes, how many a batch has and waits for, and a budget.
_IN_HANDLERS: Mapping[str, Sequence[str]] = {
    r"time\.sleep\(0\.002\)": ("time.sleep(0)", "time.sleep(0.002)", "time.sleep(0.02)"),
    r"batch=5": ("batch=1", "batch=2", "batch=50"),
    r"batch_wait_s=0\.05": ("batch_wait_s=0", "batch_wait_s=0.001", "batch_wait_s=1"),
    r"20/s": ("5/s", "50/s", "1000/s"),
}


@pytest.mark.parametrize("draw", range(3))
@pytest.mark.parametrize("under", every_queue("kafka (consumer)", "kafka (classic)"), indirect=True)
async def test_whatever_is_set_costs_workers_no_event_and_no_order(
    under: Under, chance: Chance, site: Site, draw: int
) -> None:
    for _ in range(draw + 1):
        settings = {name: chance.rng.choice(values) for name, values in _DRAWN.items()}
    if under.system == "memcached":
        # It can't be read again, and so a worker that is to hold portals is refused there.
        settings["give_up"] = "dead"
    partitions, handlers = chance.rng.choice((2, 6)), EVERY_KIND
    for what, values in _IN_HANDLERS.items():
        handlers, found = re.subn(what, chance.rng.choice(values), handlers)
        assert found == 1, what
    print(settings, partitions)
    async with crew(site, under.url, partitions=partitions, **{**LADDER, **under.settings, **settings}) as made:
        (site.folder / "shop.py").write_text(handlers)
        made.names = KINDS
        verdict = await broken(made, chance, site, _WORKERS, under.hands, rate=_RATE, seconds=_SECONDS)

    assert verdict.good, verdict
