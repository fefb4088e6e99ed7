"""What users test their handlers with."""

import doctest
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from forebay import Handlers, PortalEvent, Reject
from forebay.ingest.form import parse
from forebay.ingest.seal import divide
from forebay.processors import testing
from forebay.processors.outcome import DONE, UNHANDLED, Rejected
from forebay.processors.testing import Rehearsal, event, event_of, run, run_now
from forebay.schemas.binary import Names
from forebay.schemas.codec import packed


def test_the_example_of_the_docstring_works() -> None:
    outcome = doctest.testmod(testing)

    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_an_event_looks_as_a_portal_sends_it() -> None:
    at = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)

    made = event(
        "onCrmDealAdd",
        data={"FIELDS": {"ID": 7, "TAGS": ["a", "b"]}},
        portal="shop.bitrix24.ru",
        fields={"auth[user_id]": "5"},
        received_at=at,
    )

    assert (made.kind, made.name, made.portal, made.received_at) == ("event", "ONCRMDEALADD", "shop.bitrix24.ru", at)
    assert made.data == {"FIELDS": {"ID": "7", "TAGS": ["a", "b"]}}
    assert made.fields["data[FIELDS][ID]"] == "7"
    assert made.fields["ts"] == str(int(at.timestamp()))
    assert made.auth["domain"] == "shop.bitrix24.ru"
    assert made.auth["user_id"] == "5"
    assert made.member_id == made.auth["member_id"]


def test_a_robot_has_its_data_beside_auth() -> None:
    made = event("my_robot", kind="robot", data={"properties": {"text": "hi"}})

    assert made.name == "my_robot"
    assert isinstance(made.data, dict)
    assert made.data["properties"] == {"text": "hi"}


async def test_one_try_gives_its_outcome() -> None:
    handlers, reject = Handlers(), Reject("not for us")

    @handlers.on("ONCRMDEALADD")
    async def added(event: PortalEvent) -> None:
        raise reject

    assert await run(handlers, event("ONCRMDEALADD")) == Rejected(error=reject)
    assert await run(handlers, event("ONTASKADD")) is UNHANDLED


def test_it_runs_without_a_loop_too() -> None:
    handlers, seen = Handlers(), []

    @handlers.on("*")
    def sync(event: PortalEvent) -> None:
        seen.append(event.name)

    assert run_now(handlers, event("ONTASKADD")) is DONE
    assert seen == ["ONTASKADD"]


def test_a_type_checker_takes_what_the_documents_show() -> None:
    handlers, seen = Handlers(), list[int]()

    @handlers.on("ONCRMDEALADD", dedup=lambda event: event.data["FIELDS"]["ID"])
    async def deal_added(event: PortalEvent) -> None:
        seen.append(int(event.data["FIELDS"]["ID"]))

    run_now(handlers, event("ONCRMDEALADD", data={"FIELDS": {"ID": 7}}))

    assert seen == [7]


def test_a_body_is_read_as_the_ingest_reads_it() -> None:
    body = (
        "event=ONCRMDEALADD&data[A][]=1&data[A][]=two+%D0%B4&data[ID]=7&data[ID]=8&data[X]=%FF&&data[EMPTY]"
        "&auth[application_token]=word&auth[domain]=a.ru"
    )
    ingested, _ = divide(parse(body.encode(), 100))

    made = event_of(body)

    assert made.data == {"A": ["1", "two д"], "ID": "8", "X": "\ufffd", "EMPTY": ""}
    assert made.fields["data[A][]"] == "two д"
    assert (b"data[X]", b"\xff") in made.pairs
    assert packed(Names(dict(made.fields)), tuple(made.fields.values()), made.pairs) == ingested


def test_a_body_without_repeats_is_kept_as_its_fields_alone() -> None:
    assert event_of(b"event=ONCRMDEALADD&data[A][0]=1\n").body().as_sent is None


SEALED = "auth[access_token]=t1&auth[refresh_token]=t2"


@pytest.mark.parametrize(
    "make",
    [
        lambda keys: event("ONTASKADD", fields=dict(one.split("=") for one in SEALED.split("&")), seal_keys=keys),
        lambda keys: event_of(f"event=ONTASKADD&{SEALED}", seal_keys=keys),
    ],
)
def test_secrets_are_sealed_or_left_out_as_the_ingest_does_it(make: Callable[[object], PortalEvent]) -> None:
    keys: dict[str, str | bytes] = {"new": b64encode(b"B" * 32).decode(), "old": b"A" * 32}

    with_keys, without = make(keys), make(None)

    assert with_keys.secrets({"new": b"B" * 32}) == {"auth[access_token]": "t1"}
    assert without.secrets(keys) == {}
    for one in (with_keys, without):
        assert not [path for path in one.fields if "token" in path]


def test_who_sent_it_and_whether_that_is_proved_can_be_said() -> None:
    made = event("ONTASKADD", member_id="m1", verified=False)

    assert (made.member_id, made.auth["member_id"], made.subscription.verified) == ("m1", "m1", False)
    assert event("ONTASKADD").subscription.verified
    assert not event_of("event=ONTASKADD", verified=False).subscription.verified


def test_a_handler_that_wants_a_proof_gets_none_without_in_a_rehearsal() -> None:
    handlers, seen = Handlers(), []

    @handlers.on("*", verified=True)
    async def handle(event: PortalEvent) -> None:
        seen.append(event.portal)

    with Rehearsal(handlers) as rehearsal:
        rehearsal.send(event("ONTASKADD", portal="a.ru", verified=False), event("ONTASKADD", portal="b.ru"))
        rehearsal.let(3600)

        assert (seen, rehearsal.waiting, rehearsal.dead) == (["b.ru"], 0, [])
