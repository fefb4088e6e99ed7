"""The metrics: those that were promised are there, Prometheus' linter is content, and portals make no series."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from forebay import Handlers, PortalEvent
from forebay.ingest.metrics import Counters, IngestMetrics
from forebay.processors.metrics import metrics_of
from forebay.processors.settings import WorkerSettings
from forebay.processors.testing import event
from forebay.processors.worker import Worker
from forebay.queues.contract import Record
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import codec
from tests.prometheus.promtool import promtool
from tests.unit.ingest.conftest import EVENT, running

ROOT = Path(__file__).parents[2]

#: The fixed part of the interface: name → the labels that are always there. A worker's have its group beside them.
PROMISED = {
    "forebay_ingest_requests_total": {"endpoint", "outcome"},
    "forebay_ingest_answer_seconds": set(),
    "forebay_queue_ack_seconds": set(),
    "forebay_spool_records": set(),
    "forebay_spool_bytes": set(),
    "forebay_spool_oldest_seconds": set(),
    "forebay_spool_fsync_seconds": set(),
    "forebay_events_handled_total": {"handler", "outcome"},
    "forebay_handler_seconds": {"handler"},
    "forebay_event_age_seconds": set(),
    "forebay_lag_records": {"partition"},
    "forebay_lag_seconds": {"partition"},
    "forebay_actionable_lag_seconds": set(),
    "forebay_parked_portals": set(),
    "forebay_parked_records": set(),
    "forebay_dead_total": {"reason"},
    "forebay_rebalances_total": {"change"},
    "forebay_poll_age_seconds": set(),
    "forebay_build_info": {"version"},
}

PORTALS = 2000


def of_an_ingest() -> str:
    """What an ingest shows from its start."""
    metrics = IngestMetrics()
    Counters(metrics, "/bitrix24")
    metrics.open()
    return metrics.exposition().decode()


def of_workers(*groups: str) -> str:
    """What workers show in which everything that is counted has happened."""
    registry = CollectorRegistry()
    for one in metrics_of(groups, registry).values():
        one.events_handled.labels("shop", "done").inc()
        one.handler_seconds.labels("shop").observe(0.1)
        one.event_age.observe(0.1)
        one.dead.labels("failed").inc()
        one.quarantined.labels("unverified").inc()
        one.rebalances.labels("assigned").inc()
        one.lag_records.labels(3).set(1)
        one.lag_seconds.labels(3).set(1)
    return generate_latest(registry).decode()


def of_several_processes(folder: Path) -> str:
    """What is shown where several processes leave their metrics in one folder."""
    script = (
        "import sys; from tests.prometheus.test_metrics import of_an_ingest, of_workers;"
        "of_an_ingest(); of_workers('forebay');"
        "from forebay.ingest.metric_files import exposition_of; print(exposition_of(sys.argv[1]).decode())"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", script, folder], capture_output=True, text=True, env=environ, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def series_of(exposition: str) -> dict[str, set[str]]:
    """Metric → its labels, but for the bounds of a histogram's buckets."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            name = sample.name if sample.name.endswith("_total") else family.name
            found.setdefault(name, set()).update(set(sample.labels) - {"le", "group"})
    return found


@pytest.mark.parametrize("name", PROMISED)
def test_what_was_promised_is_there(name: str) -> None:
    shown = series_of(of_an_ingest()) | series_of(of_workers("forebay"))

    assert shown[name] == PROMISED[name]


@pytest.mark.parametrize("name", PROMISED)
def test_what_was_promised_is_told(name: str) -> None:
    assert f"`{name}" in (ROOT / "docs" / "telemetry.md").read_text("utf-8")


def test_promtool_is_content(tmp_path: Path) -> None:
    for shown in (of_an_ingest(), of_workers("forebay"), of_workers("a", "b"), of_several_processes(tmp_path)):
        assert len(series_of(shown)) > 5
        assert promtool("check", "metrics", given=shown).stderr == ""


def test_promtool_would_not_be_content_with_anything() -> None:
    shown = of_an_ingest().replace("_total", "")

    assert promtool("check", "metrics", given=shown, check=False).returncode != 0


def lines_of(exposition: str) -> set[str]:
    """Every series, without its value."""
    return {line.rpartition(" ")[0] for line in exposition.splitlines() if not line.startswith("#")}


async def test_calls_of_many_portals_make_no_series() -> None:
    async with running(auth="none", tokens={}) as ingest:
        for status in (200, 422):
            await ingest.post(EVENT.replace("A.Bitrix24.ru", "first.example") if status == 200 else b"")
        before = lines_of(ingest.metrics.exposition().decode())
        for number in range(PORTALS):
            await ingest.post(EVENT.replace("A.Bitrix24.ru", f"p{number}.example").replace("onCrm", f"on{number}"))
        after = ingest.metrics.exposition().decode()

    assert len({record.key for record in ingest.records()}) == PORTALS + 1
    assert lines_of(after) == before
    assert "p7.example" not in after


async def test_events_of_many_portals_make_no_series() -> None:
    queue, handlers, registry = MemoryQueue(), Handlers(), CollectorRegistry()

    @handlers.on("*", tries=1)
    async def shop(event: PortalEvent) -> None:
        if event.portal.startswith("ill"):
            raise ConnectionError(event.portal)

    settings = WorkerSettings(partitions=4, commit_interval_s=0.01)
    worker = Worker(settings, handlers, queue, metrics=metrics_of(["forebay"], registry)["forebay"], looks_every_s=0.01)
    await queue.ensure(names.streams(settings.topic), settings.partitions)
    producer = queue.producer()

    def tries() -> list[float]:
        about = {"handler": handlers.find("event", "X").name}  # type: ignore[union-attr]
        outcomes = ("done", "failed")
        return [
            registry.get_sample_value("forebay_events_handled_total", about | {"outcome": one}) or 0 for one in outcomes
        ]

    async def handled(portals: list[str]) -> str:
        for portal in portals:
            value = codec().encode(event(f"ON{portal.upper()}", portal=portal))
            await producer.send(settings.topic, Record(key=portal, value=value, timestamp_ms=int(time.time() * 1000)))
        async with asyncio.timeout(100):
            while sum(tries()) < sum(map(len, queue.logs[settings.topic])):
                await asyncio.sleep(0.01)
        return generate_latest(registry).decode()

    running = asyncio.create_task(worker.run())
    first = await handled([f"{how}{number}.first" for how in ("ill", "well") for number in range(50)])
    after = await handled([f"{how}{number}.example" for how in ("ill", "well") for number in range(PORTALS)])
    worker.stop()
    await running

    assert sum(map(len, queue.logs[names.dead(settings.topic)])) == PORTALS + 50
    # How many records a partition has is looked up every few seconds.
    assert {line.partition("{")[0] for line in lines_of(after) - lines_of(first)} <= {"forebay_lag_records"}
    assert "well7.example" not in after
