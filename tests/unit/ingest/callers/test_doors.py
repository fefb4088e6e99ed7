"""Who may call from where, through the whole application."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import structlog.testing
from falcon.testing import Result
from prometheus_client.parser import text_string_to_metric_families

from forebay.ingest.form import Form, parse
from tests.unit.ingest.conftest import EVENT, TOKEN, Running, running

LISTED = {"allow": ["203.0.113.0/24", "2001:db8::/32"], "trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]}
WRONG = EVENT.replace(TOKEN, "0" * 32)
NEVER = {"allow": "203.0.113.0/24", "allow_url": "https://127.0.0.1:1/list"}


async def post(ingest: Running, peer: str, forwarded: str | None = None, body: str = EVENT) -> Result:
    headers = {"x-forwarded-for": forwarded} if forwarded is not None else {}
    return await ingest.conductor.simulate_post("/bitrix24", body=body, headers=headers, remote_addr=peer)


def counted(ingest: Running, outcome: str) -> float:
    families = text_string_to_metric_families(ingest.metrics.exposition().decode())
    samples = [sample for family in families for sample in family.samples]
    (found,) = [
        one.value for one in samples if one.name == "forebay_ingest_requests_total" and one.labels["outcome"] == outcome
    ]
    return found


@pytest.mark.parametrize(
    ("peer", "forwarded", "status"),
    [
        ("203.0.113.9", None, 200),
        ("2001:db8::9", None, 200),
        ("::ffff:203.0.113.9", None, 200),
        ("198.51.100.9", None, 403),
        ("2001:db9::9", None, 403),
        ("127.0.0.1", "203.0.113.9", 200),
        ("127.0.0.1", "198.51.100.9, 203.0.113.9, 10.1.1.1", 200),
        ("127.0.0.1", None, 403),
        # Somebody says that he is somebody else.
        ("198.51.100.9", "203.0.113.9", 403),
        ("127.0.0.1", "203.0.113.9, 198.51.100.9", 403),
        ("127.0.0.1", "203.0.113.9, 198.51.100.9, 10.1.1.1", 403),
        ("127.0.0.1", "203.0.113.9, unknown", 403),
    ],
)
async def test_a_call_is_taken_from_the_addresses_that_may_call(peer: str, forwarded: str | None, status: int) -> None:
    async with running(callers=LISTED) as ingest:
        answer = await post(ingest, peer, forwarded)

        assert answer.status_code == status
        assert len(ingest.records()) == (status == 200)
        assert counted(ingest, "refused_auth") == (status == 403)


async def test_a_call_from_elsewhere_is_refused_before_its_body_is_read() -> None:
    async with running(callers=LISTED, max_body_bytes=1024) as ingest:
        answer = await post(ingest, "198.51.100.9", body="x" * 2000)

    assert (answer.status_code, orjson.loads(answer.content)["error"]) == (403, "address_not_allowed")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("peer", "forwarded", "told"),
    [
        ("198.51.100.9", None, "callers: 198.51.100.9 is not among those who may call"),
        ("127.0.0.1", "198.51.100.9", "callers: 198.51.100.9 is not among those who may call"),
        ("127.0.0.1", None, "callers: the proxy 127.0.0.1 names no caller: have it send X-Forwarded-For"),
        ("127.0.0.1", "10.1.1.1", "callers: the proxy 10.1.1.1 names no caller: have it send X-Forwarded-For"),
        ("127.0.0.1", "unknown", "callers: who calls can't be told by X-Forwarded-For"),
    ],
)
async def test_the_log_says_who_was_refused_for_his_address_and_the_answer_does_not(
    peer: str, forwarded: str | None, told: str
) -> None:
    async with running(callers=LISTED) as ingest:
        with structlog.testing.capture_logs() as lines:
            answer = await post(ingest, peer, forwarded)

    assert [line["detail"] for line in lines if line["event"] == "a call was refused"] == [told]
    assert orjson.loads(answer.content)["detail"] == "calls from this address are not taken"


async def test_where_nothing_is_limited_every_address_may_call_and_nobody_is_believed() -> None:
    async with running() as ingest:
        assert (await post(ingest, "198.51.100.9", "203.0.113.9")).status_code == 200


@pytest.mark.parametrize(("policy", "status"), [({}, 200), ({"auth": "none", "tokens": {}}, 403)])
async def test_before_any_list_was_read_only_another_proof_lets_in(
    tmp_path: Path, policy: dict[str, Any], status: int
) -> None:
    async with running(callers=NEVER, data_dir=tmp_path, **policy) as ingest:
        answer = await post(ingest, "198.51.100.9")
        readiness = await ingest.conductor.simulate_get("/ready")

    assert answer.status_code == status
    assert readiness.json["status"] == "degraded"
    assert readiness.json["parts"]["allow_list"].startswith("no list was ever read")


async def test_a_good_call_is_taken_from_an_address_from_which_bad_ones_come_without_end() -> None:
    async with running() as ingest:
        for _ in range(200):
            assert (await post(ingest, "198.51.100.9", body=WRONG)).status_code == 403
        good = await post(ingest, "198.51.100.9")

        assert good.status_code == 200
        assert counted(ingest, "refused_auth") == 200
        assert ingest.event().name == "ONCRMDEALADD"


@pytest.mark.parametrize("peers", [["198.51.100.9"], [f"198.51.100.{number}" for number in range(200)]])
async def test_bad_calls_of_one_address_or_for_one_portal_are_not_logged_without_end(peers: list[str]) -> None:
    async with running() as ingest:
        with structlog.testing.capture_logs() as lines:
            for number in range(200):
                await post(ingest, peers[number % len(peers)], body=WRONG)

    refused = [line for line in lines if line["event"] == "a call was refused"]
    told = [line["who"] for line in lines if "again and again" in line["event"]]
    assert len(refused) == 19
    assert set(told) <= {"198.51.100.9", "//a.bitrix24.ru"} and "//a.bitrix24.ru" in told
    assert TOKEN not in str(lines) and "0" * 32 not in str(lines)


async def test_callers_who_name_a_new_portal_each_time_do_not_fill_the_log_either() -> None:
    async with running() as ingest:
        with structlog.testing.capture_logs() as lines:
            for number in range(2000):
                domain = f"p{number // 20}.bitrix24.ru"
                peer = f"198.51.{number // 200}.{number % 200}"
                await post(ingest, peer, body=WRONG.replace("A.Bitrix24.ru", domain))

    # Fifty at once, then one a second; the machine may be slow.
    assert len(lines) < 200


async def test_the_fields_of_a_bad_call_are_not_read_of_somebody_from_whom_many_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []

    def watched(body: bytes, max_fields: int) -> Form:
        read.append(len(body))
        return parse(body, max_fields)

    monkeypatch.setattr("forebay.ingest.endpoint.parse", watched)
    large = WRONG + "".join(f"&data[{number}]={quote('ю' * 20)}" for number in range(4000))

    async with running() as ingest:
        for _ in range(100):
            await post(ingest, "198.51.100.9", body=large)

    assert len(read) == 20


async def test_behind_a_proxy_it_is_the_caller_who_is_known_for_failing() -> None:
    async with running(callers={"trusted_proxies": "127.0.0.1"}) as ingest:
        with structlog.testing.capture_logs() as lines:
            for _ in range(30):
                await post(ingest, "127.0.0.1", "198.51.100.9", body=WRONG)

    assert "198.51.100.9" in [line.get("who") for line in lines]
    assert "127.0.0.1" not in [line.get("who") for line in lines]
