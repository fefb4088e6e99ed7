"""Handlers that want events of verified portals only."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from forebay.ingest.rereading import Rereader
from forebay.ingest.settings import IngestSettings
from forebay.processors.metrics import build_metrics
from forebay.processors.testing import event
from forebay.queues.contract import StoredRecord
from forebay.queues.portals.members import Pin
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.tokens import TokenKeys
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent
from tests.integration.processors.conftest import TOPIC, Station
from tests.waiting import until

APPLICATION, TOKEN, PORTAL = "app.1", "token-of-the-portal", "a.bitrix24.com"
MEMBER = str(event("A", portal=PORTAL).member_id)
KEYS = {"2026": b"k" * 32}


@pytest.fixture
async def registry(station: Station) -> AsyncIterator[PortalRegistry]:
    made = PortalRegistry(station.queue.portals(TOPIC), TokenKeys(KEYS))
    made.open()
    yield made
    await made.close()


@pytest.fixture
def seen(station: Station) -> list[tuple[int, bool]]:
    found: list[tuple[int, bool]] = []

    @station.handlers.on("ONCRM*", verified=True)
    async def handle(event: PortalEvent) -> None:
        found.append((int(event.fields["data[FIELDS][ID]"]), event.subscription.verified))

    @station.handlers.on("*")
    async def any(event: PortalEvent) -> None:
        found.append((0, event.subscription.verified))

    return found


async def send(
    station: Station,
    number: int,
    token: str = "",
    name: str = "ONCRMDEALADD",
    age_s: float = 0.0,
    cut: bytes = b"",
    portal: str = PORTAL,
) -> None:
    """An event as the ingest keeps it: verified without a token, else with the mark of one that is not proved.

    Of one that is `cut` nothing is kept from there on but the byte that ends it.
    """
    made = replace(event(name, data={"FIELDS": {"ID": number}}, portal=PORTAL), portal=portal)
    received_at = datetime.now(UTC) - timedelta(seconds=age_s)
    made = replace(made, subscription=replace(made.subscription, verified=not token), received_at=received_at)
    pin = TokenKeys(KEYS).digest(APPLICATION, MEMBER, token).hex().encode()
    headers = ((names.TRACEPARENT, b"its trace"), *(((names.PIN, pin),) if token else ()))
    value = codec().encode(made)
    await station.send(portal, value=value[: value.index(cut)] + value[-1:] if cut else value, headers=headers)


def quarantined(station: Station) -> list[StoredRecord]:
    return [record for log in station.queue.logs[names.quarantine(TOPIC)] for record in log]


async def proved(registry: PortalRegistry, token: str) -> Pin:
    digest = registry.keys.digest(APPLICATION, MEMBER, token)
    await registry.prove(APPLICATION, MEMBER, digest, PORTAL, "app.info")
    return registry.following.book.pins[digest]


async def test_a_handler_that_does_not_ask_gets_unverified_events(
    station: Station, seen: list[tuple[int, bool]]
) -> None:
    await send(station, 1, TOKEN, "ONTASKADD")
    station.start()

    await until(lambda: seen)

    assert seen == [(0, False)]


async def test_an_event_waits_until_its_token_is_proved_and_keeps_its_place(
    station: Station, registry: PortalRegistry, seen: list[tuple[int, bool]]
) -> None:
    await registry.see(APPLICATION, MEMBER, TOKEN, PORTAL, "access")
    await send(station, 1, TOKEN)
    await send(station, 2)
    metrics = build_metrics(CollectorRegistry())
    station.start(metrics=metrics)
    tried = metrics.events_handled.labels
    handler = next(one.name for one in station.handlers if one.options.verified)
    await until(lambda: tried(handler, "unproved")._value.get())
    assert seen == []

    await proved(registry, TOKEN)

    await until(lambda: len(seen) == 2)
    assert seen == [(1, True), (2, True)]


@pytest.mark.parametrize(("key", "shown"), [("another.bitrix24.com", PORTAL), (MEMBER, MEMBER)])
async def test_what_came_under_another_domain_is_shown_under_the_one_that_is_proved(
    station: Station, registry: PortalRegistry, key: str, shown: str
) -> None:
    portals: list[str] = []

    @station.handlers.on("ONCRM*", verified=True)
    async def handle(event: PortalEvent) -> None:
        portals.append(event.portal)

    await proved(registry, TOKEN)
    await send(station, 1, TOKEN, portal=key)
    station.start()

    await until(lambda: portals)

    assert portals == [shown]


async def test_what_was_not_verified_within_a_day_goes_to_quarantine_and_is_counted(
    station: Station, registry: PortalRegistry, seen: list[tuple[int, bool]]
) -> None:
    await send(station, 1, TOKEN, age_s=24 * 3600 + 1)
    await send(station, 2)
    metrics = build_metrics(CollectorRegistry())
    station.start(metrics=metrics)

    await until(lambda: seen)

    assert seen == [(2, True)]
    [letter] = quarantined(station)
    headers = dict(letter.headers)
    assert (headers[names.QUARANTINE_REASON], headers[names.QUARANTINE_NAME]) == (b"unverified", b"ONCRMDEALADD")
    assert b"within a day" in headers[names.QUARANTINE_DETAIL]
    assert headers[names.TRACEPARENT] == b"its trace"
    assert metrics.quarantined.labels("unverified")._value.get() == 1
    assert station.dead() == []


async def test_a_call_that_somebody_makes_up_beside_the_proved_token_holds_up_nobody(
    station: Station, registry: PortalRegistry, seen: list[tuple[int, bool]]
) -> None:
    await proved(registry, TOKEN)
    await registry.see(APPLICATION, MEMBER, "made up", PORTAL, "")
    await send(station, 1, "made up")
    await send(station, 2)
    station.start()

    await until(lambda: seen)

    assert seen == [(2, True)]
    assert len(quarantined(station)) == 1


async def test_a_token_that_was_refused_is_not_waited_for(
    station: Station, registry: PortalRegistry, seen: list[tuple[int, bool]]
) -> None:
    await registry.see(APPLICATION, MEMBER, TOKEN, PORTAL, "access")
    book = await registry.following.refresh(10)
    await registry.keep_waiting(next(iter(book.waiting.values())), refused="the access token is another portal's")
    await send(station, 1, TOKEN)
    await send(station, 2)
    station.start()

    await until(lambda: seen)

    assert seen == [(2, True)]
    assert b"another portal's" in dict(quarantined(station)[0].headers)[names.QUARANTINE_DETAIL]


async def test_a_quarantined_event_can_be_read_again_and_is_handled_once_its_token_is_proved(
    station: Station, registry: PortalRegistry, seen: list[tuple[int, bool]]
) -> None:
    await send(station, 7, TOKEN, age_s=24 * 3600 + 1)
    station.start()
    await until(lambda: quarantined(station))
    await proved(registry, TOKEN)

    [letter] = quarantined(station)
    reader = Rereader(IngestSettings(topic=TOPIC), codec())
    await station.queue.producer().send(TOPIC, reader.record(letter, letter.value, int(time.time() * 1000)))

    await until(lambda: seen)
    assert seen == [(7, True)]


async def test_an_event_that_nothing_can_prove_is_not_for_such_a_handler(
    station: Station, seen: list[tuple[int, bool]]
) -> None:
    made = event("ONCRMDEALADD", data={"FIELDS": {"ID": 1}}, portal=PORTAL)
    made = replace(made, subscription=replace(made.subscription, verified=False))
    await station.send(PORTAL, value=codec().encode(made))
    await send(station, 2)
    station.start()

    await until(lambda: seen)

    assert seen == [(2, True)]
    assert len(quarantined(station)) == 1


async def test_while_the_registry_is_away_an_event_waits_and_is_not_given_up(
    station: Station, registry: PortalRegistry, seen: list[tuple[int, bool]]
) -> None:
    await proved(registry, TOKEN)
    log = station.queue.fact_logs[names.portals(TOPIC)]
    log.down = True
    await send(station, 1, TOKEN)
    metrics = build_metrics(CollectorRegistry())
    worker = station.start(metrics=metrics)
    handler = next(one.name for one in station.handlers if one.options.verified)
    await until(lambda: metrics.events_handled.labels(handler, "unproved")._value.get())
    assert "portals" in str(worker.health.report())

    log.down = False

    await until(lambda: seen)
    assert seen == [(1, True)]
    assert quarantined(station) == []


async def test_a_portal_that_waits_long_is_parked_and_comes_back_in_its_order(
    station: Station, registry: PortalRegistry, seen: list[tuple[int, bool]]
) -> None:
    await registry.see(APPLICATION, MEMBER, TOKEN, PORTAL, "access")
    await send(station, 1, TOKEN)
    await send(station, 2)
    station.start(retry_longest_s=0.001)
    await until(lambda: any(station.queue.logs[names.parked(TOPIC)]))

    await proved(registry, TOKEN)

    await until(lambda: len(seen) == 2)
    assert seen == [(1, True), (2, True)]


@pytest.mark.parametrize("batch", [None, 5])
@pytest.mark.parametrize("cut", [b"/bitrix24", b"[ID]"], ids=["head", "body"])
async def test_a_record_that_turns_out_broken_while_it_is_judged_is_a_dead_letter_and_holds_up_nobody(
    station: Station, cut: bytes, batch: int | None
) -> None:
    """In its head, which says whether it is verified, or in its body, which would go to quarantine."""
    seen: list[object] = []

    @station.handlers.on("ONCRM*", verified=True, batch=batch)
    async def handle(given: object) -> None:
        seen.append(given)

    await send(station, 1, TOKEN, age_s=24 * 3600 + 1, cut=cut)
    await send(station, 2)
    worker = station.start()

    await until(lambda: seen or station.running[worker].done())

    assert len(seen) == 1
    assert [dict(letter.headers)[names.DEAD_ERROR_CLASS].split(b".")[-1] for letter in station.dead()] == [
        b"UndecodableEvent"
    ]
    assert quarantined(station) == []
