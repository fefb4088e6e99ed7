"""All bodies of tests/data/bitrix24, from the bytes to the event in the queue."""

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import pytest

from forebay.ingest.form import parse
from forebay.schemas.tree import Node

from .conftest import running

BODIES = Path(__file__).parents[2] / "data" / "bitrix24"
KEY = b"k" * 32
RU, COM = "some-domain.bitrix24.ru", "some-domain.bitrix24.com"


def _bot_seals(path: str) -> tuple[str, ...]:
    return tuple(f"{path}{below}[{name}]" for below in ("", "[AUTH]") for name in ("access_token", "client_id"))


#: The sets of secrets that are sealed, and those that are dropped.
ACCESS = ("auth[access_token]",)
BOT = (*_bot_seals("data[BOT][567]"), *ACCESS)
COMMAND = (*_bot_seals("data[COMMAND][103]"), *ACCESS)
APPLICATION = ("auth[application_token]",)
BOTH = ("auth[refresh_token]", "auth[application_token]")


@dataclass(frozen=True)
class Expected:
    """What the queue has of a body. `probe` is where in `data` to look, and what must be there."""

    name: str
    portal: str
    subscription: str | None
    sealed: tuple[str, ...]
    dropped: tuple[str, ...]
    probe: tuple[tuple[str | int, ...], Node]
    kind: str = "event"


def _bot_drops(path: str) -> tuple[str, ...]:
    return (
        tuple(f"{path}{below}[{name}_token]" for below in ("", "[AUTH]") for name in ("refresh", "application")) + BOTH
    )


DEAL: tuple[tuple[str | int, ...], Node] = (("FIELDS", "ID"), "7405")

EXPECTED = {
    "01": Expected(
        "ONCRMCONTACTADD",
        "bitrix24-php-sdk-playground.bitrix24.com",
        "58",
        ACCESS,
        APPLICATION,
        (("FIELDS", "ID"), "134806"),
    ),
    "02": Expected("ONCRMDEALADD", RU, "185", ACCESS, APPLICATION, DEAL),
    "03": Expected("ONCRMDEALADD", RU, "975", (), APPLICATION, DEAL),
    "04": Expected("ONCRMDEALUPDATE", RU, "185", ACCESS, APPLICATION, DEAL),
    "05": Expected("ONCRMDEALUPDATE", RU, "185", (), APPLICATION, DEAL),
    "06": Expected("ONAPPINSTALL", RU, None, ACCESS, BOTH, (("VERSION",), "1.0.0")),
    "07": Expected("ONAPPUNINSTALL", RU, None, (), APPLICATION, (("CLEAN",), "1")),
    "08": Expected("ONAPPUPDATE", RU, None, ACCESS, BOTH, (("PREVIOUS_VERSION",), "2.0.3")),
    "09": Expected("ONAPPPAYMENT", RU, None, (), (), (("DAYS",), "28")),
    "10": Expected(
        "ONAPPMETHODCONFIRM",
        "portal.bitrix24.ru",
        None,
        ("data[TOKEN]",),
        APPLICATION,
        ((), {"METHOD": "voximplant.user.get", "CONFIRMED": "1", "LANGUAGE_ID": "ru"}),
    ),
    "11": Expected("ONUSERADD", RU, None, ACCESS, APPLICATION, (("UF_DEPARTMENT",), ["1", "2"])),
    "12": Expected("ONAPPTEST", RU, "1", ACCESS, BOTH, (("LANGUAGE_ID",), "en")),
    "13": Expected("ONOFFLINEEVENT", RU, None, ACCESS, BOTH, ((), {})),
    "14": Expected("ONTASKADD", COM, None, ACCESS, BOTH, (("FIELDS_BEFORE",), "undefined")),
    "15": Expected("ONTASKUPDATE", COM, None, ACCESS, BOTH, (("IS_ACCESSIBLE_BEFORE",), "undefined")),
    "16": Expected("ONTASKDELETE", COM, None, ACCESS, BOTH, (("FIELDS_AFTER",), "undefined")),
    "17": Expected("ONTASKCOMMENTADD", RU, "404", (), APPLICATION, (("FIELDS_AFTER", "ID"), "0")),
    "18": Expected("ONCRMDYNAMICITEMUPDATE", COM, "5", ACCESS, BOTH, (("FIELDS", "ENTITY_TYPE_ID"), "1220")),
    "19": Expected("ONCRMDYNAMICITEMADD_147", RU, "509", (), APPLICATION, (("FIELDS", "ENTITY_TYPE_ID"), "147")),
    "20": Expected("ONCRMCONTACTUSERFIELDADD", COM, "14", ACCESS, BOTH, (("FIELDS", "ENTITY_ID"), "CRM_CONTACT")),
    "21": Expected("CATALOG.PRODUCT.ON.UPDATE", COM, "1", ACCESS, BOTH, (("FIELDS", "ID"), "1")),
    "22": Expected("ONCALENDARENTRYUPDATE", COM, "4", ACCESS, BOTH, (("id",), "1414")),
    "23": Expected("ONVOXIMPLANTCALLEND", RU, "1061", ACCESS, BOTH, (("COST_CURRENCY",), "")),
    "24": Expected("ONEXTERNALCALLSTART", RU, "1055", ACCESS, BOTH, (("EXTENSION",), "")),
    "25": Expected(
        "ONIMBOTMESSAGEADD", RU, "403", BOT, _bot_drops("data[BOT][567]"), (("BOT", "567", "AUTH", "user_id"), "567")
    ),
    "26": Expected(
        "ONIMBOTMESSAGEADD",
        RU,
        "403",
        BOT,
        _bot_drops("data[BOT][567]"),
        (("PARAMS", "MENTIONED_LIST"), {"567": "567"}),
    ),
    "27": Expected(
        "ONIMCOMMANDADD",
        RU,
        "1045",
        COMMAND,
        _bot_drops("data[COMMAND][103]"),
        (("COMMAND", "103", "COMMAND_PARAMS"), "test"),
    ),
    "28": Expected(
        "ONIMBOTV2MESSAGEADD",
        RU,
        "777",
        ("data[bot][auth][access_token]",),
        ("data[bot][auth][application_token]", *APPLICATION),
        (("user", "departments"), ["1"]),
    ),
    "29": Expected(
        "ONIMCONNECTORMESSAGEADD", RU, "555", ACCESS, APPLICATION, (("MESSAGES", 0, "im", "chat_id"), "1807")
    ),
    "30": Expected(
        "ONIMCONNECTORMESSAGEUPDATE",
        RU,
        "557",
        ACCESS,
        APPLICATION,
        (("MESSAGES", 0, "message", "id"), ["ext-msg-005"]),
    ),
    "31": Expected("ONIMCONNECTORLINEDELETE", RU, "563", ACCESS, APPLICATION, ((), "107")),
    "32": Expected("ONOPENLINEMESSAGEADD", COM, "1", ACCESS, BOTH, (("DATA", 0, "message", "text"), "hello")),
    "33": Expected(
        "test_activity", RU, None, ("event_token", *ACCESS), BOTH, (("properties", "tags"), ["a", "b"]), "robot"
    ),
    "34": Expected("DYNAMIC_1090", RU, None, (), (), (("document_id", 2), "DYNAMIC_1090_12"), "automation"),
    "35": Expected("provider1", RU, None, ACCESS, APPLICATION, (("bindings", 0, "OWNER_ID"), "123"), "sms"),
    "38": Expected("ONCRMLEADADD", "crm.example-corp.ru", None, (), APPLICATION, (("FIELDS", "ID"), "365")),
}
REFUSED = ("36", "37")


def body_of(number: str) -> bytes:
    (found,) = BODIES.glob(f"{number}_*.txt")
    return found.read_bytes()


def test_every_body_has_an_expectation() -> None:
    assert sorted([*EXPECTED, *REFUSED]) == [f"{number:02}" for number in range(1, 39)]


@pytest.mark.parametrize("number", EXPECTED)
async def test_a_body_becomes_its_event(number: str) -> None:
    body, expected = body_of(number), EXPECTED[number]
    async with running(auth="none", tokens={}, seal_keys={"k": b64encode(KEY).decode()}) as ingest:
        answer = await ingest.post(body)

        event = ingest.event()
    sent = parse(body, 5000).fields
    secrets = event.secrets({"k": KEY})
    place, value = expected.probe
    assert answer.json == {"status": "accepted", "id": event.id}
    assert (event.kind, event.name, event.portal) == (expected.kind, expected.name, expected.portal)
    assert event.subscription.id == expected.subscription
    assert (event.occurred_at and str(int(event.occurred_at.timestamp()))) == sent.get("ts")
    assert tuple(secrets) == expected.sealed
    assert {path for path in sent if path not in event.fields and path not in secrets} == set(expected.dropped)
    assert {**event.fields, **secrets, **{path: sent[path] for path in expected.dropped}} == sent
    assert _at(event.data, place) == value


def _at(node: Node, place: tuple[str | int, ...]) -> Node:
    for key in place:
        node = node[key]  # type: ignore[index]  # the table knows what is there
    return node


@pytest.mark.parametrize("number", EXPECTED)
async def test_a_body_passes_by_its_token_and_by_no_other(number: str) -> None:
    body = body_of(number)
    token = parse(body, 5000).fields.get("auth[application_token]")
    async with running(auth="tokens", tokens={"*": token or "0" * 32}) as ingest:
        right = await ingest.post(body)
    async with running(auth="tokens", tokens={"*": "f" * 32}) as ingest:
        wrong = await ingest.post(body)

        assert ingest.records() == [] and ingest.records(".quarantine") == []
    assert (right.status_code, wrong.status_code) == (200 if token else 403, 403)


@pytest.mark.parametrize("number", REFUSED)
async def test_a_placement_is_told_that_it_waits_for_something_else(number: str) -> None:
    async with running(auth="none", tokens={}) as ingest:
        answer = await ingest.post(body_of(number))

        assert (answer.status_code, answer.json["error"]) == (422, "awaits_answer")
        assert "waits for" in answer.json["detail"]
        assert ingest.records() == []


@pytest.mark.parametrize(
    ("body", "kind", "name"),
    [
        ("event=onCrmRequisiteAdd", "event", "ONCRMREQUISITEADD"),
        ("event=SOMETHING.NEW_1:x", "event", "SOMETHING.NEW_1:X"),
        ("event=", "other", ""),
        ("event=a%0Ab", "other", ""),
        ("event=X&PLACEMENT=DEFAULT", "event", "X"),
        ("document_id[2]=DEAL_7", "automation", "DEAL"),
        (
            "document_id[1]=Bitrix%5CLists%5CBizprocDocumentLists&document_id[2]=12",
            "automation",
            "BizprocDocumentLists",
        ),
        ("document_id[2]=12", "automation", ""),
        # Matched to its end, an id of a million digits held up every other call for seconds.
        (f"document_id[1]=Class&document_id[2]=DEAL_{'1' * 300}", "automation", "Class"),
        ("document_id[2]=D%00", "automation", ""),
        ("workflow_id=1&code=c", "robot", "c"),
        ("something=else", "other", ""),
    ],
)
async def test_a_shape_that_nobody_has_documented_passes_too(body: str, kind: str, name: str) -> None:
    async with running(auth="none", tokens={}) as ingest:
        await ingest.post(f"{body}&auth[domain]=a.ru")

        event = ingest.event()
        assert (event.kind, event.name) == (kind, name)
