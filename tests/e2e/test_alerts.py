"""The alerts and dashboards, on what real processes show: the states are real, and so is every number."""

import asyncio
import json
import signal
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.answers import called
from tests.certificates import Authority
from tests.ports import free_ports
from tests.prometheus.exposed import selectors_of
from tests.prometheus.rules import FILE
from tests.prometheus.scraped import fires, scrape
from tests.prometheus.test_dashboards import FILES, expressions, filled

from .site import Site
from .watched import CUT_OFF, begin, has_all, put, refused, shown, value, worker

HANGS = """
import asyncio

from forebay import Handlers

handlers = Handlers()


@handlers.on("*", deadline_s=3600)
async def hang(event):
    await asyncio.Event().wait()
"""

#: More than the rule allows a partition within half an hour.
RESTARTS = 8

KEY = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="

#: Who shows what the rules of the group look at.
SIDES = {"forebay-ingest": {"ingest"}, "forebay-processors": {"workers", "worker"}}

#: Come with the first of their kind, and no alert looks at them.
LATE = {"forebay_events_quarantined_total", "forebay_ingest_not_http_total"}

Side = list[tuple[str, dict[str, str]]]


def test_one_worker_that_is_killed_again_and_again_is_a_storm(site: Site, tmp_path: Path) -> None:
    scrapes = []
    for _ in range(RESTARTS):
        port = worker(site, "one")
        site.wait("its partitions", partial(has_all, port))
        # Each life shows the same count, at the same address.
        scrapes.append(scrape({"w-0": shown(port)}))
        site.running["one"].send_signal(signal.SIGKILL)
        site.running["one"].wait()

    assert fires("ForebayRebalanceStorm", scrapes, tmp_path, at_m=20)
    assert not fires("ForebayRebalanceStorm", scrapes[:3], tmp_path, at_m=20)


def test_a_call_that_is_refused_before_anybody_has_looked_is_lost_too(site: Site, tmp_path: Path) -> None:
    site.settings |= CUT_OFF
    scrapes, began = [], time.time()
    for _ in range(2):
        site.start("ingest", "ingest")
        site.wait("the ingest", lambda: bool(shown(site.port)))
        site.wait("a call that is refused", partial(refused, site.port))
        scrapes.append(scrape({"i-0": shown(site.port)}))
        site.running["ingest"].send_signal(signal.SIGKILL)
        site.running["ingest"].wait()

    assert fires("ForebayEventsLost", scrapes[:1], tmp_path, at_m=2, began=began)
    assert fires("ForebayEventsLost", scrapes, tmp_path, at_m=12, began=began)
    assert not fires("ForebayEventsLost", scrapes, tmp_path, at_m=30, began=began)


def series(*ports: int) -> Side:
    """What is shown there: name and labels."""
    return [
        (sample.name, sample.labels)
        for port in ports
        for family in text_string_to_metric_families(shown(port))
        for sample in family.samples
    ]


def missing(expression: str, side: Side) -> list[str]:
    """What the expression asks for, and nobody shows: each value of each label counts."""
    return [
        f"{name} {label} {value}"
        for name, wanted in selectors_of(expression)
        for label, value in [(label, value) for label, values in wanted.items() for value in values] or [("", "")]
        if not any(one == name and (not label or labels.get(label) == value) for one, labels in side)
    ]


@pytest.fixture
def sides(site: Site, tmp_path: Path) -> dict[str, Side]:
    """What each kind of process shows, when a portal has called and its event was rejected in each group."""
    registry = {"auth": "registry", "client_id": "app.1", "seal_keys": json.dumps({"k1": KEY})}
    site.settings |= registry | {"oauth_urls": '["http://127.0.0.1:9/rest"]', "ingest_processes": "2"}
    workers = worker(site, "workers", ("crm", "audit"), "--processes", "2")
    begin(site, "ingest", "ingest")
    site.wait("the ingest", site.is_ready)
    alone = worker(site, "worker", ("alone",), "--group", "alone")
    [canary, cut_off] = free_ports(2)
    site.start("canary", "canary", "--metrics-bind", f"127.0.0.1:{canary}", "--group", "alone")
    body = "event=ONCRMDEALADD&auth[domain]=a.bitrix24.example&auth[member_id]=1&auth[application_token]=" + "a" * 32
    assert called(site.url, body.encode())[0] == 200
    # Some come again where the machine stands still for a session.
    for port, group in ((alone, ""), (workers, 'group="crm",'), (workers, 'group="audit",')):
        rejected = partial(value, series=f'forebay_dead_total{{{group}reason="rejected"}}')
        site.wait("the letter", lambda: rejected(shown(port)) >= 1)  # noqa: B023 - it is over with the call
    site.wait("the canary", lambda: value(shown(canary), "forebay_canary_last_success_timestamp_seconds") > 0)
    certificates = json.dumps({"security.protocol": "SSL", "ssl.ca.location": str(Authority(tmp_path).certificate)})
    own = {"bind": f"127.0.0.1:{cut_off}", "data_dir": str(tmp_path / "cut-off"), "kafka": certificates}
    begin(site, "cut off", "ingest", **CUT_OFF, **own)
    site.wait("its metrics", lambda: "forebay_certificate_expiry" in shown(cut_off))
    site.wait("a call that is refused", partial(refused, cut_off))
    return {
        "ingest": series(site.port, cut_off),
        "workers": series(workers),
        "worker": series(alone),
        "canary": series(canary),
    }


def test_all_that_alerts_and_dashboards_ask_for_is_shown_by_who_they_take_it_to_be(sides: dict[str, Side]) -> None:
    everything = [one for side in sides.values() for one in side]
    groups = yaml.safe_load(FILE.read_text("utf-8"))["groups"]
    asked = [(SIDES.get(group["name"]), rule["expr"]) for group in groups for rule in group["rules"]]

    of_alerts = {
        (side, fault)
        for names, expression in asked
        for side in names or [""]
        for fault in missing(expression, sides[side] if side else everything)
    }
    of_dashboards = {name for file in FILES for one in expressions(file) for name, _ in selectors_of(filled(one))}

    assert of_alerts == set()
    assert of_dashboards - {name for name, _ in everything} <= LATE
    assert {labels.get("group") for name, labels in sides["workers"] if name.startswith("forebay_lag")} == {
        "crm",
        "audit",
    }


def test_what_waits_for_days_is_at_risk_and_lags_also_where_its_worker_is_killed(site: Site, tmp_path: Path) -> None:
    asyncio.run(put(site, [4 * 86_400]))
    (site.folder / "hangs.py").write_text(HANGS)
    [port] = free_ports(1)
    scrapes = []
    for _ in range(2):
        begin(site, "hangs", "process", "hangs:handlers", metrics_bind=f"127.0.0.1:{port}", session_s="1")
        site.wait("its age", lambda: value(shown(port), "forebay_actionable_lag_seconds") > 0)
        scrapes += [scrape({"w-0": shown(port)}) for _ in range(10)]
        site.running["hangs"].send_signal(signal.SIGKILL)
        site.running["hangs"].wait()

    for alert in ("ForebayRetentionRisk", "ForebayLagging"):
        assert fires(alert, scrapes, tmp_path, at_m=15)
        assert not fires(alert, scrapes, tmp_path, at_m=3)
    assert fires("ForebayLagNotDraining", scrapes, tmp_path, at_m=40)


def test_answers_that_wait_for_a_queue_that_hangs_are_slow(site: Site, tmp_path: Path) -> None:
    site.settings |= {"auth": "none", "queue_url": f"sqlite:///{site.folder}/queue.db"}
    site.start("ingest", "ingest")
    site.wait("the ingest", site.has_its_queue)
    scrapes = [scrape({"i-0": shown(site.port)})]
    with closing(sqlite3.connect(site.folder / "queue.db", isolation_level=None)) as holding:
        holding.execute("BEGIN EXCLUSIVE")
        for _ in range(2):
            # Beside the embedded queue there is no spool.
            assert called(site.url, b"event=ONCRMDEALADD&auth[domain]=a.bitrix24.example")[0] == 503
            scrapes.append(scrape({"i-0": shown(site.port)}))

    assert fires("ForebayAnswersSlow", scrapes, tmp_path, at_m=11)
    assert not fires("ForebayAnswersSlow", scrapes[:1], tmp_path, at_m=11)
