"""What the canary says of an event that gets lost on its way, and of one that is finished out of turn."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from forebay.console.traffic.canary_metrics import CanaryMetrics
from forebay.console.traffic.canary_probe import Passage, Probe
from forebay.processors.notes import encode_note
from forebay.queues.contract import Bounds, GroupState, PlacedRecord, StoredRecord, among
from forebay.queues.errors import QueueUnavailable
from forebay.schemas.names import CANARY_DOMAIN, CE_ID
from tests.certificates import Authority
from tests.serving import serving

ACCEPTED = (200, b'{"status":"accepted","id":"event-1"}')
PARTITION = 0

#: What comes through has more time than it needs; what does not, enough to come to where it is missed.
LONG_S, SOON_S = 60.0, 2.0


@dataclass
class Looked:
    """An inspector of one partition, in which the event stands at offset 7 from the second look on."""

    states: dict[str, dict[int, GroupState]] = field(default_factory=dict)
    is_down: bool = False
    #: So many questions about groups get no answer.
    hiccups: int = 0
    has_event: bool = True
    looks: int = 0

    async def partitions(self, stream: str) -> int:
        return PARTITION + 1

    async def bounds(self, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        if self.is_down:
            raise QueueUnavailable("the brokers are gone")
        self.looks += 1
        return {PARTITION: Bounds(start=0, end=8 if self.looks > 2 and self.has_event else 5)}

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        return [_record(at) for at in range(offset, 8)]

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        raise NotImplementedError

    async def groups(self, stream: str, only: Collection[str] | None = None) -> dict[str, dict[int, GroupState]]:
        self.hiccups -= 1
        if self.hiccups >= 0:
            raise QueueUnavailable("the coordinator moves")
        return among(self.states, only)

    async def close(self) -> None:
        """Holds nothing."""


def _record(offset: int) -> StoredRecord:
    event_id = b"event-1" if offset == 7 else b"another"
    return PlacedRecord(
        key=CANARY_DOMAIN,
        value=b"",
        timestamp_ms=0,
        headers=((CE_ID, event_id),),
        stream="events",
        partition=PARTITION,
        offset=offset,
    )


def state(offset: int, *runs: tuple[int, int]) -> dict[int, GroupState]:
    return {PARTITION: GroupState(offset=offset, note=encode_note(offset, runs, 1000), owner="worker")}


@asynccontextmanager
async def ingest(status: int, body: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Answers every call alike."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        writer.write(b"HTTP/1.1 %d Any\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()

    async with serving(answer, tls=tls) as port:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/bitrix24"


async def gone(
    looked: Looked,
    answered: tuple[int, bytes] = ACCEPTED,
    *,
    groups: tuple[str, ...] = ("a",),
    patience_s: float = LONG_S,
) -> Passage:
    async with ingest(*answered) as url:
        way = Probe(url=url, token="secret-token", topic="events", groups=groups, patience_s=patience_s)
        return await way.go(looked)


@pytest.mark.parametrize("states", [{"a": state(8)}, {"a": state(3, (4, 6), (7, 9))}])
async def test_an_event_is_finished_when_its_group_is_past_it_or_has_noted_it(
    states: dict[str, dict[int, GroupState]],
) -> None:
    passage = await gone(Looked(states=states))

    assert passage.came_through
    assert list(passage.seconds) == ["answered", "queued", "finished"]


@pytest.mark.parametrize(
    "states",
    [{}, {"a": state(7)}, {"a": state(3, (4, 7))}, {"a": {1: GroupState(offset=9, owner="w")}}],
)
async def test_an_event_that_its_group_has_not_finished_is_missed(states: dict[str, dict[int, GroupState]]) -> None:
    passage = await gone(Looked(states=states), patience_s=SOON_S)

    assert (passage.missed, passage.why) == ("finished", "nothing within 2 s")


async def test_a_group_as_which_nobody_ever_read_is_told_with_those_that_did() -> None:
    passage = await gone(Looked(states={"b": state(8), "c": state(7)}), groups=("b", "a"), patience_s=SOON_S)

    assert passage.missed == "finished"
    assert passage.why == "nobody ever read as group a, but b, c did: is the group right (--group)?"


async def test_every_group_that_is_named_has_to_finish_it() -> None:
    states = {"a": state(8), "b": state(7)}

    assert (await gone(Looked(states=states), groups=("a", "b"), patience_s=SOON_S)).missed == "finished"


@pytest.mark.parametrize(
    ("answered", "why"),
    [
        ((503, b'{"error":"not_kept"}'), "503 not_kept"),
        ((403, b'{"error":"not_our_portal"}'), "403 not_our_portal; list a token for * or canary.forebay.invalid"),
        ((200, b'{"status":"quarantined","id":"event-1"}'), "200 quarantined"),
        ((502, b"<html>https://x/secret-token</html>"), "502 (not in our words)"),
    ],
)
async def test_a_refused_event_is_missed_at_the_door_and_no_answer_is_quoted(
    answered: tuple[int, bytes], why: str
) -> None:
    passage = await gone(Looked(), answered)

    assert (passage.missed, passage.why, passage.seconds) == ("answered", why, {})


async def test_an_answered_event_that_never_comes_to_the_queue_is_missed_there() -> None:
    assert (await gone(Looked(has_event=False), patience_s=SOON_S)).missed == "queued"


async def test_a_queue_that_is_gone_is_missed_only_behind_the_answer() -> None:
    passage = await gone(Looked(is_down=True))

    assert list(passage.seconds) == ["answered"]
    assert (passage.missed, passage.why) == ("queued", "the brokers are gone")
    assert "not queued: the brokers are gone" in passage.line()


async def test_a_queue_that_does_not_answer_for_a_moment_is_asked_again() -> None:
    passage = await gone(Looked(states={"a": state(8)}, hiccups=2))

    assert (passage.came_through, passage.why) == (True, "")


async def test_what_the_queue_said_last_is_why_an_event_was_missed() -> None:
    passage = await gone(Looked(states={"a": state(8)}, hiccups=10_000), patience_s=SOON_S)

    assert (passage.missed, passage.why) == ("finished", "the coordinator moves")


async def test_the_end_of_the_certificate_that_the_address_shows_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, until = Authority(tmp_path), datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    shown = authority.signed("server", ["127.0.0.1"], valid_until=until)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(shown.both)

    async with ingest(*ACCEPTED, tls) as url:
        way = Probe(url=url, token="secret-token", topic="events", groups=("a",), until="queued")
        passage = await way.go(Looked())

    assert passage.came_through
    assert passage.certificate_end == until.timestamp()


def test_the_token_is_shown_nowhere() -> None:
    assert "secret-token" not in repr(Probe(url="http://h", token="secret-token", topic="t", groups=()))


def test_metrics_tell_how_far_events_came() -> None:
    metrics = CanaryMetrics(registry := CollectorRegistry())
    metrics.sent()
    metrics.passed(Passage(at=1.0, seconds={"answered": 0.2}, missed="queued", why="x"), 5.0)
    before = generate_latest(registry).decode()
    metrics.sent()
    metrics.passed(Passage(at=1.0, seconds={"answered": 0.2, "queued": 0.3}, certificate_end=99.0), 7.0)
    after = generate_latest(registry).decode()

    assert "forebay_canary_last_success_timestamp_seconds 0.0" in before
    assert 'forebay_canary_missed_total{stage="queued"} 1.0' in before
    for line in (
        "forebay_canary_sent_total 2.0",
        "forebay_canary_seen_total 1.0",
        "forebay_canary_last_success_timestamp_seconds 7.0",
        'forebay_canary_seconds_count{stage="answered"} 2.0',
        'forebay_certificate_expiry_timestamp_seconds{certificate="endpoint"} 99.0',
    ):
        assert line in after
