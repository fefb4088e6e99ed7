"""What the registry is asked, what it answers, and what to do when it answers something else."""

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from forebay.queues.registry.errors import BadRegistrySettings, RegistryRefused, RegistryUnavailable
from forebay.queues.registry.opening import open_registry
from forebay.queues.settings import QueueSettings
from forebay.schemas.versions import schema_texts
from tests.certificates import Authority, Certificate
from tests.registry.fake import PATH, FakeRegistry
from tests.registry.fixtures import AnyRegistry
from tests.registry.site import asking, given

SUBJECT = "bitrix24.events-value"
OURS = schema_texts()[-1]
OTHERS = json.dumps({"type": "record", "name": "Invoice", "fields": [{"name": "number", "type": "long"}]})


async def test_a_registered_schema_is_found_by_its_id_and_by_its_subject(registry: AnyRegistry) -> None:
    async with asking(registry) as client:
        schema_id = await client.register(SUBJECT, OURS)

        assert await client.register(SUBJECT, OURS) == schema_id
    async with asking(registry) as another:
        assert await another.id_of(SUBJECT, OURS) == schema_id
        found = await another.schema_of(schema_id)

    assert found is not None
    assert json.loads(found) == json.loads(OURS)


async def test_what_is_not_there_is_none(registry: AnyRegistry) -> None:
    async with asking(registry) as client:
        await client.register("other-value", OTHERS)

        assert await client.id_of(SUBJECT, OURS) is None
        assert await client.id_of("other-value", OURS) is None
        assert await client.schema_of(2**31 - 1) is None
        assert await client.is_compatible(SUBJECT, OURS)


async def test_what_is_asked_again_is_answered_as_it_is_by_then() -> None:
    """A registry whose backup was put back has its former ids again."""
    with FakeRegistry() as fake:
        async with asking(fake) as client:
            fake.answer = 200, {"schema": OTHERS}
            before = await client.schema_of(2)
            fake.answer = 200, {"schema": OURS}

            assert (before, await client.schema_of(2)) == (OTHERS, OURS)


async def test_a_subject_with_a_schema_of_somebody_else_refuses_ours(registry: AnyRegistry) -> None:
    set_compatibility(registry, "BACKWARD", OTHERS)

    async with asking(registry) as client:
        assert not await client.is_compatible(SUBJECT, OURS)
        with pytest.raises(RegistryRefused, match=r"409.*set another topic"):
            await client.register(SUBJECT, OURS)


def set_compatibility(registry: AnyRegistry, level: str, schema: str) -> None:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

    with SchemaRegistryClient({"url": registry.url}) as client:
        client.register_schema(SUBJECT, Schema(schema, "AVRO"))
        client.set_compatibility(SUBJECT, level)


async def test_a_registry_that_is_down_says_so_in_time(registry: AnyRegistry) -> None:
    registry.down()

    async with asking(registry, timeout_s=0.5) as client:
        with pytest.raises(RegistryUnavailable, match="check that it runs, the address in schema_registry_url"):
            await client.schema_of(1)


async def test_an_address_without_the_path_is_told_from_a_schema_that_is_not_there(registry: AnyRegistry) -> None:
    for path in ("", "/apis", "/apis/ccompat/v7/subjects"):
        url = registry.url.replace(PATH, path)
        async with asking(registry, schema_registry_url=url) as client:
            with pytest.raises(RegistryRefused, match="/apis/ccompat/v7"):
                await client.schema_of(77)
            with pytest.raises(RegistryRefused, match="/apis/ccompat/v7"):
                await client.id_of(SUBJECT, OURS)


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        ((401, {"error_code": 401, "message": "Unauthorized"}), "basic.auth.user.info"),
        ((403, {"error_code": 40301, "message": "no right"}), "right"),
        ((422, {"error_code": 42201, "message": "Invalid schema"}), "Avro"),
        ((301, ""), "schema_registry_url"),
        ((200, "<html>Welcome</html>"), "schema_registry_url"),
        ((200, []), "schema_registry_url"),
        ((200, {"id": "seven"}), "schema_registry_url"),
        ((404, "<html>not found</html>"), "schema_registry_url"),
    ],
)
async def test_what_stays_as_it_is_until_somebody_acts_is_refused_with_a_remedy(
    fake: FakeRegistry, answer: Any, remedy: str
) -> None:
    fake.answer = answer

    async with asking(fake) as client:
        with pytest.raises(RegistryRefused, match=remedy):
            await client.register(SUBJECT, OURS)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_may_go_by_is_unavailable_and_asked_once(fake: FakeRegistry, status: int) -> None:
    fake.answer = (status, {"error_code": 50001, "message": "Error in the backend data store"})

    async with asking(fake) as client:
        with pytest.raises(RegistryUnavailable, match=f"answers {status}"):
            await client.schema_of(1)

    assert len(fake.asked) == 1


async def test_a_registry_that_hangs_is_left_after_the_timeout(fake: FakeRegistry) -> None:
    fake.hang()

    async with asking(fake, timeout_s=0.1) as client:
        with pytest.raises(RegistryUnavailable, match=r"within 0\.1 s"):
            await client.schema_of(1)


async def test_of_several_addresses_one_is_enough(fake: FakeRegistry) -> None:
    async with asking(fake, schema_registry_url=f"http://127.0.0.1:1,{fake.url}") as client:
        assert await client.register(SUBJECT, OURS) == 1


async def test_tls_is_checked_against_the_ca_of_the_table(tmp_path: Path) -> None:
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    with FakeRegistry(tls=server_side(ours.signed("registry", ["127.0.0.1"]))) as registry:
        async with asking(registry, schema_registry={"ssl.ca.location": str(ours.certificate)}) as client:
            assert await client.register(SUBJECT, OURS) == 1
        async with asking(registry, schema_registry={"ssl.ca.location": str(others.certificate)}) as client:
            with pytest.raises(RegistryUnavailable, match=r"ssl\.ca\.location"):
                await client.schema_of(1)


async def test_https_where_there_is_none_is_said(fake: FakeRegistry) -> None:
    async with asking(fake, schema_registry_url=fake.url.replace("http:", "https:")) as client:
        with pytest.raises(RegistryUnavailable, match="speak no TLS"):
            await client.schema_of(1)


def server_side(of: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(of.certificate, of.key)
    return context


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"ssl.ca.locatoin": "x"}, "ssl.ca.locatoin"),
        ({"basic.auth.user.info": "hunter2"}, "basic.auth.user.info"),
        ({"ssl.ca.location": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
        ({"timeout": "soon"}, "soon"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": "nan"}, "timeout is nan"),
        ({"url": "http://elsewhere"}, "schema_registry_url"),
    ],
)
def test_a_table_that_can_not_work_stops_the_start(fake: FakeRegistry, table: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRegistrySettings, match=told) as refused:
        open_registry(QueueSettings(**given(fake) | {"schema_registry": table}))

    assert "hunter2" not in str(refused.value)
