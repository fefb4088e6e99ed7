"""Handlers of several groups in one process, or one group alone."""

import asyncio
import json
import re
from typing import Any

import pytest

from tests.answers import metrics_of
from tests.e2e.test_process import put, readiness
from tests.ports import free_ports

HANDLERS = """
import os

from forebay import Handlers

handlers = Handlers()


def note(group, event):
    with open(f"{group}.log", "a") as book:
        book.write(f"{event.id}\\n")


@handlers.on("ONCRM*")
async def shop(event):
    note("shop", event)


@handlers.on("*", group="audit")
async def audit(event):
    note("audit", event)


@handlers.on("*", group="mail")
def mail(event):
    note("mail", event)
"""

HALF_NAMED = """
from forebay import Handlers

handlers = Handlers()


def note(event):
    with open("forebay.log", "a") as book:
        book.write(f"{event.id}\\n")


@handlers.on("ONCRM*")
async def deals(event):
    note(event)


@handlers.on("ONTASK*", group="forebay")
async def tasks(event):
    note(event)
"""

NAMED_ONLY = """
from forebay import Handlers

handlers = Handlers()


@handlers.on("*", group="audit")
async def audit(event):
    ...
"""


def handled(site: Any, group: str) -> int:
    return len(set(site.handled(f"{group}.log")))


def test_one_process_runs_every_group_and_says_how_each_is(site: Any) -> None:
    [port] = free_ports(1)
    site.settings["metrics_bind"] = f"127.0.0.1:{port}"
    (site.folder / "shop.py").write_text(HANDLERS)
    asyncio.run(put(site, *["ONCRMDEALADD"] * 20, *["ONTASKADD"] * 10))
    site.start("process", "process", "shop:handlers")

    site.wait("all groups", lambda: [handled(site, one) for one in ("shop", "audit", "mail")] == [20, 30, 30])

    assert '"audit/group":{"state":"ok"' in readiness(port)

    def counted(group: str) -> float:
        found = re.findall(rf'^forebay_events_handled_total\{{group="{group}".* (.*)$', metrics_of(port), re.MULTILINE)
        return sum(map(float, found))

    site.wait("the counts", lambda: (counted("forebay"), counted("audit"), counted("mail")) == (30, 30, 30))
    assert site.stop("process") == 0
    for group in ("forebay", "audit", "mail"):
        rows = [json.loads(line) for line in site.run("lag", "--group", group, "--json").stdout.splitlines()]
        assert {row["records"] for row in rows} == {0}


def test_one_group_runs_alone(site: Any) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    asyncio.run(put(site, *["ONCRMDEALADD"] * 20))
    site.start("process", "process", "shop:handlers", "--group", "audit", "--processes", "2")

    site.wait("the group", lambda: handled(site, "audit") == 20)

    assert site.stop("process") == 0
    assert (handled(site, "shop"), handled(site, "mail")) == (0, 0)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_group_of_the_setting_runs_whole_when_it_is_asked_for(site: Any, processes: str) -> None:
    (site.folder / "shop.py").write_text(HALF_NAMED)
    asyncio.run(put(site, *["ONCRMDEALADD"] * 10, *["ONTASKADD"] * 10))
    site.start("process", "process", "shop:handlers", "--group", "forebay", "--processes", processes)

    site.wait("both handlers", lambda: handled(site, "forebay") == 20)

    assert site.stop("process") == 0


def test_a_name_that_no_group_can_have_is_refused(site: Any) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)

    refused = site.run("process", "shop:handlers", "--group", "our mail")

    assert refused.returncode == 2
    assert "group (from --group)" in refused.stderr


def test_up_is_ready_also_when_no_handler_is_in_the_default_group(site: Any) -> None:
    (site.folder / "shop.py").write_text(NAMED_ONLY)
    site.start("up", "up", "shop:handlers")

    site.wait("ready", lambda: "ready after" in site.log("up"))

    assert site.stop("up") == 0
