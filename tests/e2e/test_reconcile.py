"""From calls that could not be kept to a copy that misses nothing, by the recipe of docs/reconcile.md."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.answers import called
from tests.bitrix24.portal import FakePortal
from tests.e2e.site import Site

RECIPE = Path(__file__).parents[2] / "docs" / "reconcile.py"
PORTAL = "example.bitrix24.com"

#: In place of the recipe's dictionary, one that can be looked at from outside.
DATABASE = """

class Written(dict):
    def __setitem__(self, key, deal):
        super().__setitem__(key, deal)
        with open("copied.log", "a") as book:
            book.write(f"{key[1]} {deal['TITLE']}\\n")


deals = Written()
"""


def post(site: Site, number: int) -> int:
    body = f"event=ONCRMDEALUPDATE&data[FIELDS][ID]={number}&auth[domain]={PORTAL}".encode()
    return called(site.url, body, timeout_s=30)[0]


def copied(site: Site) -> list[str]:
    return site.handled("copied.log")


def test_deals_whose_calls_were_refused_are_fetched_when_the_queue_is_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakePortal() as portal:
        monkeypatch.setenv("BITRIX24_WEBHOOKS", json.dumps({PORTAL: portal.webhook}))
        (site.folder / "reconcile.py").write_text(RECIPE.read_text() + DATABASE)
        site.start("up", "up", "reconcile:handlers")
        site.wait("ready", lambda: "ready after" in site.log("up"))
        portal.save(1, datetime.now(UTC), TITLE="one")
        kept = post(site, 1)
        site.wait("the first", lambda: copied(site) == ["1 one"])

        # Somebody else has the file's lock, as a backup that went wrong would: for Forebay the queue is gone.
        lock = sqlite3.connect(Path(site.settings["data_dir"]) / "queue.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        for number in (2, 3):
            portal.save(number, datetime.now(UTC), TITLE="missed")
        refused = post(site, 2)
        portal.save(4, datetime.now(UTC), TITLE="after")
        lock.execute("ROLLBACK")
        lock.close()
        last = post(site, 4)
        site.wait("what came last", lambda: len(copied(site)) > 5)

    assert (kept, refused, last) == (200, 503, 200)
    # The marker stands before the event that came after it: all four, and then the last one once more.
    assert copied(site)[1:] == ["1 one", "2 missed", "3 missed", "4 after", "4 after"]
    assert site.stop("up") == 0
