"""The counts of docs/analytics.md beside workers that are killed: as many as there were events."""

import json
import os
import re
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from .site import Site

EVENTS, KILLS = 1500, 4

DOCS = Path(__file__).parents[2] / "docs" / "analytics.md"


def counted(site: Site) -> int:
    """How many so far; none while the first worker still makes the table."""
    with suppress(sqlite3.OperationalError), closing(opened(site)) as connection:
        [(events,)] = connection.execute("SELECT coalesce(sum(events), 0) FROM forebay_counts")
        return int(events)
    return 0


def opened(site: Site) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{site.folder}/counts.db?mode=ro", uri=True, timeout=60)


def has_counted(site: Site, events: int) -> bool:
    return counted(site) >= events


def workers(site: Site) -> list[int]:
    pid = site.running["process"].pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(site: Site, killed: Sequence[int]) -> list[int]:
    return [pid for pid in workers(site) if pid not in killed]


def waiting(site: Site) -> int:
    """How many are not finished, as nobody owns them or they are not committed yet."""
    asked = site.run("lag", "--group", "analytics", "--json")
    assert asked.returncode == 0, asked.stderr
    return sum(json.loads(line)["records"] for line in asked.stdout.splitlines())


@pytest.mark.timeout(300)
def test_whoever_is_killed_each_event_is_counted_once(site: Site) -> None:
    [handlers] = re.findall(r"^```python\n(# counting\.py\n.*?)^```", DOCS.read_text("utf-8"), re.M | re.S)
    (site.folder / "counting.py").write_text(handlers)
    site.settings |= {"session_s": "1", "commit_interval_s": "5"}
    site.start("ingest", "ingest")
    site.wait("the ingest", site.is_ready)
    site.start("process", "process", "counting:handlers", "--processes", "2")
    sent = site.run("send", "--portals", "40", "--count", str(EVENTS))
    assert sent.returncode == 0, sent.stderr

    killed: list[int] = []
    for number in range(KILLS):
        part = EVENTS * (number + 1) // (KILLS + 2)
        site.wait("some more", partial(has_counted, site, part))
        # One that was just killed stays among them until the supervisor has looked.
        site.wait("a worker", lambda: bool(alive(site, killed)))
        killed.append(alive(site, killed)[0])
        os.kill(killed[-1], signal.SIGKILL)
    site.wait("the end", lambda: waiting(site) == 0)

    assert counted(site) == EVENTS
    assert site.log("process").count("ended by SIGKILL") == KILLS
