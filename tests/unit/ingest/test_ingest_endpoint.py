"""The whole flow on an application without a server, with the queue in memory."""

from base64 import b64encode
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from forebay.queues.contract import Delivery, Record, StoredRecord
from forebay.queues.errors import RecordRefused
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent

from .conftest import AUTH, EVENT, TOKEN, facts_of, running, until_open

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
KEY = b"k" * 32


class RefusingProducer(MemoryProducer):
    """Takes nothing but quarantine, as a queue with a limit on records would."""

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        if not stream.endswith(".quarantine"):
            raise RecordRefused("the record is larger than 1000 bytes")
        super().submit(stream, record, delivery)


class RefusingQueue(MemoryQueue):
    def producer(self) -> MemoryProducer:
        return RefusingProducer(self)


def without_store() -> MemoryQueue:
    """A queue whose store of portals is away: secrets are sealed with the setting's key, not with their portal's."""
    queue = MemoryQueue()
    facts_of(queue).down = True
    return queue


def headers_of(record: StoredRecord) -> Mapping[str, bytes]:
    return dict(record.headers)


async def test_an_event_is_kept_as_the_schema_says() -> None:
    async with running(without_store(), seal_keys={"k": b64encode(KEY).decode()}) as ingest:
        answer = await ingest.post(path="/bitrix24/shop?deal=7", traceparent=TRACE)

        (record,), event = ingest.records(), ingest.event()
        assert (answer.status_code, answer.json) == (200, {"status": "accepted", "id": event.id})
        assert (event.portal, event.member_id, event.kind, event.name) == (
            "a.bitrix24.ru",
            "m1",
            "event",
            "ONCRMDEALADD",
        )
        assert event.occurred_at is not None and event.occurred_at.timestamp() == 1766047124
        assert (event.path, event.query, event.traceparent) == ("shop", "deal=7", TRACE)
        assert (event.subscription.id, event.subscription.endpoint, event.subscription.verified) == (
            "7",
            "/bitrix24",
            True,
        )
        assert list(event.fields) == [
            "event",
            "event_handler_id",
            "data[FIELDS][ID]",
            "ts",
            "auth[domain]",
            "auth[member_id]",
        ]
        assert event.secrets({"k": KEY}) == {"auth[access_token]": "accessible"}
        assert record.key == "a.bitrix24.ru"
        assert TOKEN.encode() not in record.value and b"accessible" not in record.value


async def test_a_record_has_the_headers_of_a_cloud_event() -> None:
    async with running() as ingest:
        await ingest.post(traceparent=TRACE)

        (record,), event = ingest.records(), ingest.event()
        assert headers_of(record) == {
            names.CE_SPECVERSION: b"1.0",
            names.CE_ID: event.id.encode(),
            names.CE_SOURCE: b"//a.bitrix24.ru",
            names.CE_TYPE: b"com.bitrix24.event.ONCRMDEALADD",
            names.CE_TIME: event.received_at.isoformat(timespec="microseconds").encode(),
            names.CE_SUBJECT: b"9",
            names.CONTENT_TYPE: b"application/avro",
            names.ENDPOINT: b"/bitrix24",
            names.MEMBER_ID: b"m1",
            names.TRACEPARENT: TRACE.encode(),
        }
        assert record.timestamp_ms == int(event.received_at.timestamp() * 1000)


async def test_without_a_key_the_secrets_are_dropped() -> None:
    async with running() as ingest:
        await ingest.post()

        assert ingest.event().sealed is None
        assert b"accessible" not in ingest.records()[0].value


async def test_the_longest_endpoint_takes_the_call_and_each_has_its_own_proof() -> None:
    endpoints = [
        {"path": "/in", "tokens": {"*": TOKEN}},
        {"path": "/in/rules", "secret": "0123456789abcdef"},
    ]
    async with running(auth=(), tokens={}, endpoints=endpoints) as ingest:
        automation = "document_id[0]=crm&document_id[1]=C&document_id[2]=DEAL_7&auth[domain]=a.ru"

        statuses = {
            path: (await ingest.post(body, path)).status_code
            for path, body in {
                "/in/": EVENT,
                "/in/other/place": EVENT,
                "/in/rules/0123456789abcdef?stage=WON": automation,
                "/in/rules": automation,
                "/in/ruleset": automation,
                "/bitrix24": EVENT,
            }.items()
        }

        assert list(statuses.values()) == [200, 200, 200, 403, 403, 404]
        taken = {(event.subscription.endpoint, event.path, event.query) for event in map(_decoded, ingest.records())}
        assert taken == {("/in", "", ""), ("/in", "other/place", ""), ("/in/rules", "", "stage=WON")}


async def test_an_endpoint_at_the_root_leaves_our_own_addresses_alone() -> None:
    async with running(auth=(), tokens={}, endpoints=[{"path": "/", "auth": "none"}]) as ingest:
        answers = [await ingest.post(path=path) for path in ("/", "/deeper/place", "/live")]
        live = await ingest.conductor.simulate_get("/live")

        assert [answer.status_code for answer in answers] == [200, 200, 405]
        assert live.json["parts"] == {"process": "ok"}


def _decoded(record: StoredRecord) -> PortalEvent:
    return codec().decode(record.value)


#: More fields than an ingest takes.
MANY = "&".join(f"a{n}=1" for n in range(5000))


@pytest.mark.parametrize(
    ("body", "reason", "name"),
    [
        (f"event=OnX&data{'[a]' * 21}=1&{AUTH}", b"max_depth", b"ONX"),
        (f"event=OnX&{MANY}&{AUTH}", b"max_fields", b"ONX"),
        (f"code=my_robot&workflow_id=1&{MANY}&{AUTH}", b"max_fields", None),
        (f"code=my_robot&workflow_id=1&data{'[a]' * 21}=1&{AUTH}", b"max_depth", b"my_robot"),
        (f"event=X&auth[domain]=-&auth[application_token]={TOKEN}&auth[access_token]=accessible", b"no_portal", b"X"),
    ],
)
@pytest.mark.parametrize("seal_keys", [{}, {"k": b64encode(KEY).decode()}])
async def test_what_is_authentic_but_no_event_is_kept_raw(
    body: str, reason: bytes, name: bytes | None, seal_keys: dict[str, str]
) -> None:
    async with running(without_store(), seal_keys=seal_keys) as ingest:
        answer = await ingest.post(body, "/bitrix24/p?q=1")

        (record,) = ingest.records(".quarantine")
        headers = headers_of(record)
        assert answer.json == {"status": "quarantined", "id": headers[names.QUARANTINE_ID].decode()}
        assert (headers[names.QUARANTINE_REASON], headers[names.QUARANTINE_PATH]) == (reason, b"p")
        assert headers.get(names.QUARANTINE_NAME) == name
        assert b"accessible" not in record.value and TOKEN.encode() not in record.value
        assert ingest.records() == []
        if seal_keys:
            assert headers[names.QUARANTINE_KEY_ID] == b"k"
            assert (
                AESGCM(KEY).decrypt(headers[names.QUARANTINE_NONCE], record.value, answer.json["id"].encode())
                == body.encode()
            )
        else:
            assert record.value.decode() == body.replace(TOKEN, "").replace("=accessible", "=")


async def test_what_the_queue_refuses_for_good_is_kept_in_quarantine() -> None:
    async with running(RefusingQueue()) as ingest:
        answer = await ingest.post()

        (record,) = ingest.records(".quarantine")
        assert answer.json["status"] == "quarantined"
        assert headers_of(record)[names.QUARANTINE_REASON] == b"refused_by_queue"
        assert headers_of(record)[names.QUARANTINE_DETAIL] == b"the record is larger than 1000 bytes"


async def test_while_the_queue_is_gone_calls_are_told_to_come_again() -> None:
    async with running() as ingest:
        ingest.queue.down = True

        answer = await ingest.post()
        ready, live = await ingest.conductor.simulate_get("/ready"), await ingest.conductor.simulate_get("/live")

        assert (answer.status_code, answer.json["error"], answer.headers["retry-after"]) == (503, "not_kept", "5")
        assert (ready.status_code, ready.json["status"]) == (503, "failing")
        assert (live.status_code, live.json["status"]) == (200, "ok")


async def test_a_worker_that_is_stopping_is_not_ready_and_still_takes_calls() -> None:
    async with running() as ingest:
        before = await ingest.conductor.simulate_get("/ready")

        ingest.health.stop()

        after = await ingest.conductor.simulate_get("/ready")
        assert (before.status_code, after.status_code) == (200, 503)
        assert after.json["parts"] == {"process": "stopping", "queue": "ok"}
        assert (await ingest.post()).status_code == 200


async def test_the_streams_are_made_as_soon_as_the_queue_is_there() -> None:
    queue = MemoryQueue()
    queue.down = True
    async with running(queue) as ingest:
        refused = await ingest.post()

        queue.down = False
        await until_open(ingest.health)

        assert refused.status_code == 503
        assert (await ingest.post()).status_code == 200


async def test_looking_at_the_address_queues_nothing() -> None:
    async with running() as ingest:
        got = await ingest.conductor.simulate_get("/bitrix24", query_string="event=ONCRMDEALADD")
        headed = await ingest.conductor.simulate_head("/bitrix24/deeper")

        assert (got.status_code, headed.status_code, headed.text) == (200, 200, "")
        assert ingest.records() == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(method: str) -> None:
    async with running() as ingest:
        answer = await ingest.conductor.simulate_request(method, "/bitrix24")

        assert (answer.status_code, answer.json["error"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("path", ["/metrics", "/openapi.json", "/live", "/ready"])
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
async def test_our_own_addresses_are_only_looked_at(method: str, path: str) -> None:
    async with running() as ingest:
        answer = await ingest.conductor.simulate_request(method, path)

        assert (answer.status_code, answer.json["error"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(("sent", "repeated"), [("abc-1", True), ("a b", False), ("a" * 200, False), ("<x>", False)])
async def test_every_answer_has_the_id_of_its_request(sent: str, repeated: bool) -> None:
    async with running() as ingest:
        answers = [await ingest.post(x_request_id=sent), await ingest.post("a=1", x_request_id=sent)]
        answers += [
            await ingest.conductor.simulate_get(path, headers={"X-Request-Id": sent}) for path in ("/live", "/x")
        ]

        assert all((answer.headers["x-request-id"] == sent) is repeated for answer in answers)
        assert answers[1].json["request_id"] == answers[1].headers["x-request-id"]


@pytest.mark.parametrize("given", ["00-" + "0" * 32 + "-00f067aa0ba902b7-01", "01-x", TRACE.upper(), TRACE + "-x"])
async def test_a_trace_context_that_is_not_valid_is_left_out(given: str) -> None:
    async with running() as ingest:
        await ingest.post(traceparent=given)

        assert ingest.event().traceparent is None


async def test_calls_are_counted_by_how_they_ended() -> None:
    async with running() as ingest:
        await ingest.post()
        await ingest.post(f"event=X&data{'[a]' * 21}=1&{AUTH}")
        await ingest.post(EVENT + "x")
        await ingest.post("PLACEMENT=DEFAULT")
        ingest.queue.down = True
        await ingest.post()

        text = (await ingest.conductor.simulate_get("/metrics")).text
        counts = dict(_counts(text))
        assert counts == {
            "accepted": 1,
            "spooled": 0,
            "quarantined": 1,
            "refused_auth": 1,
            "refused_input": 1,
            "refused_full": 1,
        }
        assert "a.bitrix24.ru" not in text.lower()
        assert "forebay_ingest_answer_seconds_count 5.0" in text and "forebay_queue_ack_seconds_count 3.0" in text


def _counts(text: str) -> list[tuple[str, float]]:
    start = "forebay_ingest_requests_total{"
    lines = [line for line in text.splitlines() if line.startswith(start)]
    return [(line.split('outcome="')[1].split('"')[0], float(line.rsplit(" ", 1)[1])) for line in lines]


async def test_a_fault_of_our_own_is_a_500_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as ingest:
        monkeypatch.setattr("forebay.ingest.reader.recognise", lambda fields: 1 / 0)

        answer = await ingest.post()

        assert (answer.status_code, answer.json["error"]) == (500, "internal")
        assert "zero" not in answer.text
