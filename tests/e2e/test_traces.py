"""An event's whole way as a collector sees it, and a collector that is no help."""

import json
import urllib.request
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.e2e.site import Site
from tests.tracing.receiver import Receiver, receiving
from tests.tracing.spans import SAMPLED, TRACE_ID

pytestmark = pytest.mark.timeout(300)

HANDLERS = """
import os
from pathlib import Path

from opentelemetry import trace

from forebay import Handlers

handlers = Handlers()


@handlers.on("*")
async def shop(event):
    # As an instrumented HTTP client does it.
    with trace.get_tracer("client").start_as_current_span("GET deal"):
        pass
    with open("handled.log", "a") as book:
        print(event.id, file=book)
    if not Path("mended").exists():
        raise ConnectionError("token=S3CRET-0123")
"""

EVENT = "event=ONCRMDEALADD&data[FIELDS][ID]=9&auth[domain]=a.bitrix24.ru&auth[access_token]=acce55ible-0123456789"

#: As OTLP has it.
PRODUCER = 4

#: That of a call is done when it is answered, and leaves the process within so long.
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def post(site: Site) -> None:
    request = urllib.request.Request(site.url, EVENT.encode(), {"traceparent": SAMPLED})  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own server
        assert json.load(answer)["status"] == "accepted"


def started(site: Site, *, mended: bool, **settings: str) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    if mended:
        (site.folder / "mended").touch()
    site.settings |= settings
    site.start("ingest", "ingest")
    site.wait("ready", site.is_ready)
    site.start("process", "process", "shop:handlers")


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def system(request: pytest.FixtureRequest, site: Site) -> str:
    """What the site's queue is called."""
    if request.param == "kafka":
        site.settings["queue_url"] = request.getfixturevalue("kafka").url
        site.settings["topic"] = f"traced-{uuid4().hex}"
    return str(request.param)


def test_an_event_has_one_trace_from_its_call_to_its_replay(site: Site, collector: Receiver, system: str) -> None:
    topic = site.settings.get("topic", "bitrix24.events")
    site.variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **SOON}
    started(site, mended=False, tries="2", memory_tries="1", park_first_s="0.05", retry_first_s="0.01")

    post(site)
    site.wait("a dead letter", lambda: bool(collector.named(f"send {topic}.dead")))
    (site.folder / "mended").touch()
    replayed = site.run("dead", "replay", "--all", "--yes")
    site.wait("the replay", lambda: len(collector.named(f"process {topic}")) == 3)

    assert replayed.returncode == 0, replayed.stderr
    assert [site.stop("ingest"), site.stop("process")] == [0, 0]
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}
    (call,) = collector.named("POST /bitrix24")
    # A topic that was made just now may let it go by the spool, and then there is a second one, of another kind.
    (send,) = [span for span in collector.named(f"send {topic}") if span.kind == PRODUCER]
    tries = collector.named(f"process {topic}")
    assert (call.service, tries[0].service) == ("forebay-ingest", "forebay-process")
    assert (call.parent, send.parent) == ("00f067aa0ba902b7", call.span_id)
    assert [(one.attributes["forebay.attempt"], one.attributes["forebay.outcome"]) for one in tries] == [
        (1, "failed"),
        (2, "failed"),
        (1, "done"),
    ]
    assert [one.attributes.get("forebay.replayed") for one in tries] == [None, None, True]
    (parked,), (dead,) = collector.named(f"park {topic}.parked"), collector.named(f"send {topic}.dead")
    assert {one.parent for one in [*tries, parked, dead]} == {send.span_id}
    assert {one.attributes["messaging.system"] for one in [send, *tries, parked, dead]} == {system}
    offset = "messaging.kafka.offset" if system == "kafka" else "forebay.offset"
    assert {one.attributes[offset] for one in tries} == {0}
    assert [one.parent for one in collector.named("GET deal")] == [one.span_id for one in tries]
    assert collector.paths == {"/v1/traces"}
    assert not [secret for secret in (b"S3CRET", b"acce55ible") if secret in collector.bodies]


def test_what_is_under_way_at_a_stop_is_sent(site: Site, collector: Receiver) -> None:
    site.variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    started(site, mended=True, ingest_processes="2")
    for _ in range(5):
        post(site)
    site.wait("five events", lambda: len(site.handled()) == 5)

    assert [site.stop("ingest"), site.stop("process")] == [0, 0]

    def count(name: str) -> int:
        return len(collector.named(name))

    assert (count("send bitrix24.events"), count("process bitrix24.events"), count("GET deal")) == (5, 5, 5)


@pytest.mark.parametrize("fault", ["hangs", "is away"])
def test_a_collector_that_is_no_help_holds_up_nobody(site: Site, collector: Receiver, fault: str) -> None:
    collector.hangs = fault == "hangs"
    url = collector.url if collector.hangs else "http://127.0.0.1:9"
    # A queue that is full after a few spans, and exports that nobody gives up: every call finds it at its worst.
    worst = {
        "OTEL_BSP_MAX_QUEUE_SIZE": "4",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3600",
    }
    site.variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, **worst}
    started(site, mended=True)

    for _ in range(40):
        post(site)
    site.wait("all events", lambda: len(site.handled()) == 40)

    assert [site.stop("ingest"), site.stop("process")] == [0, 0]
    if collector.hangs:
        assert collector.calls > 0 and collector.spans == []


def test_a_variable_that_opentelemetry_does_not_understand_costs_no_event(site: Site) -> None:
    site.variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100",
        "OTEL_BSP_MAX_QUEUE_SIZE": "1",
    }
    started(site, mended=True)

    post(site)
    site.wait("the event", lambda: len(site.handled()) == 1)

    assert [site.stop("ingest"), site.stop("process")] == [0, 0]
    for name in ("ingest", "process"):
        lines = [json.loads(line) for line in site.log(name).splitlines()]
        assert any("there are no traces" in line["event"] for line in lines)
