"""The operators' page beside the commands: the same rows, on a queue that a worker works on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from falcon.testing import Result, TestClient

from forebay import Reject
from forebay.console.pages import overview
from forebay.console.pages.app import create_app
from forebay.console.terminal.output import cell
from forebay.queues.contract import Record
from forebay.schemas import names
from tests.pages import Shown, shown

from .night import Night

FAILS, WAITS, WELL = (f"{name}.bitrix24.example" for name in ("fails", "waits", "well"))
ERROR = 'no <script>alert(1)</script> & "stock"'
COLUMNS = ("records", "seconds", "partitions", "unowned", "parked")
QUARANTINED = "01998f5e-0000-7000-8000-000000000001"


@pytest.fixture
def bad_night(night: Night) -> Night:
    """Dead letters, a parked portal, a held one, quarantined calls, and an order."""
    night.program.errors = {FAILS: Reject(ERROR), WAITS: ConnectionError("the shop is down")}
    for portal in (FAILS, WAITS, WELL):
        night.do(night.site.send(portal, 1, 2, 3))
    for name, body in ((QUARANTINED, b"event=ONCRMDEALADD&broken=1"), ("sealed", b"\x00\x01")):
        night.do(night.site.producer.send(names.quarantine(night.settings.topic), call(name, body)))
    night.start(tries=30, memory_tries=1, park_first_s=3600.0, park_longest_s=3600.0)
    night.until_rows(lambda rows: len(rows) == 3, "dead", "list")
    night.until_rows(lambda rows: rows and rows[0]["records"] == 3, "parked", "list")
    night.rows("parked", "hold", "--portal", WELL, "--why", "a <b>long</b> talk", "--yes")
    return night


def call(name: str, body: bytes) -> Record:
    sealed = ((names.QUARANTINE_KEY_ID, b"k1"), (names.QUARANTINE_NONCE, b"0" * 12)) if name == "sealed" else ()
    headers = ((names.QUARANTINE_ID, name.encode()), (names.QUARANTINE_REASON, b"max_fields"), *sealed)
    return Record(key=FAILS, value=body, timestamp_ms=1_796_000_000_000, headers=headers)


def asked(night: Night, path: str, **settings: object) -> Result:
    app = create_app(night.settings.model_copy(update=settings))
    return TestClient(app).simulate_get(path, host="localhost")


def page(night: Night, path: str, **settings: object) -> Shown:
    found = asked(night, path, **settings)
    assert found.status_code == 200, found.text
    assert "<script>" not in found.text and "<b>" not in found.text
    return shown(found.text)


def cells(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{name: cell(value) for name, value in row.items()} for row in rows]


@pytest.mark.parametrize(
    ("path", "command", "order"),
    [
        ("/groups/forebay", ("lag",), None),
        ("/parked", ("parked", "list"), None),
        (f"/parked?portal={WAITS}&group=forebay", ("parked", "list", "--portal", WAITS, "--group", "forebay"), None),
        ("/parked?group=others", ("parked", "list", "--group", "others"), None),
        ("/dead", ("dead", "list"), reversed),
        (f"/dead?portal={FAILS}&error=STOCK&event=ONCRM*", ("dead", "list", "--error", "stock"), reversed),
        ("/dead?error=shop", ("dead", "list", "--error", "shop"), reversed),
        ("/quarantine", ("quarantine", "list"), reversed),
        ("/audit", ("audit",), reversed),
    ],
)
def test_a_page_shows_what_the_command_shows(
    bad_night: Night, path: str, command: tuple[str, ...], order: Callable[[Any], Any] | None
) -> None:
    rows = bad_night.rows(*command)

    tables = page(bad_night, path).tables

    assert (tables[0] if tables else []) == cells([*(order or iter)(rows)])


def test_the_overview_says_what_waits(bad_night: Night) -> None:
    found = page(bad_night, "/")

    groups, waiting, orders = found.tables
    lag = bad_night.rows("lag")
    assert groups == [
        {
            "group": "forebay",
            "records": "0",
            "seconds": "0.0",
            "partitions": str(len(lag)),
            "unowned": "0",
            "parked": "3",
        }
    ]
    assert waiting == [{"what": "dead", "open": "3"}, {"what": "quarantine", "open": "2"}]
    assert [row["why"] for row in orders] == ["a <b>long</b> talk"]
    assert "the queue is as it must be" in found.texts["p"]


def test_the_overview_counts_as_long_as_it_has_time(bad_night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(*_: object) -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    monkeypatch.setattr(overview, "_COUNTS_S", 0.01)
    monkeypatch.setattr(overview, "open_records", endless)

    found = page(bad_night, "/")

    assert found.tables[1] == [{"what": name, "open": "more than 1"} for name in ("dead", "quarantine")]
    assert [row["group"] for row in found.tables[0]] == ["forebay"]
    assert len(found.tables[2]) == 1


def test_the_overview_looks_at_groups_as_long_as_it_has_time(bad_night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(overview, "_GROUPS_S", 0.01)
    monkeypatch.setattr(overview, "lags", endless)

    found = page(bad_night, "/")

    assert found.tables[0] == [{"group": "forebay"} | dict.fromkeys(COLUMNS, "-")]
    assert any("no time" in told for told in found.texts["p"])
    assert [row["open"] for row in found.tables[1]] == ["3", "2"]


def test_all_about_a_portal_stands_on_one_page(bad_night: Night) -> None:
    unfinished, letters, events = page(bad_night, f"/portals/{FAILS.upper()}").tables

    waits, parked, waiting_events = page(bad_night, f"/portals/{WAITS}").tables

    assert [row["group"] for row in unfinished] == [row["group"] for row in waits] == ["forebay"]
    assert letters == cells([*reversed(bad_night.rows("dead", "list", "--portal", FAILS))])
    assert parked == cells(bad_night.rows("parked", "list", "--portal", WAITS))
    assert {row["id"] for row in letters} == {row["id"] for row in events}
    assert [int(row["offset"]) for row in waiting_events] == sorted(int(r["offset"]) for r in waiting_events)[::-1]
    assert len(waiting_events) == 3


def test_a_letter_is_shown_with_all_that_the_command_shows(bad_night: Night) -> None:
    [letter, *_] = bad_night.rows("dead", "list")
    [details] = bad_night.rows("dead", "show", letter["id"])

    found = page(bad_night, f"/dead/{letter['id']}")

    values = dict(zip(found.texts["dt"], found.texts["dd"], strict=True))
    assert values.keys() == {name for name, value in details.items() if value not in (None, "")}
    assert values["error"] == ERROR
    assert details["traceback"].rstrip() == values["traceback"].rstrip()
    assert f"forebay dead replay {letter['id']}" in found.texts["code"]


def test_what_another_program_gave_up_has_a_page_too(night: Night) -> None:
    strange = ((names.CE_ID, b"a/b?c#d% e"), (names.DEAD_ATTEMPTS, b"many"), (names.DEAD_AT, b"2026-03-01T10:00:00"))
    for headers in (strange, ((names.CE_ID, b"\xff"), (names.DEAD_AT, b"2026-03-01T11:00:00+00:00"))):
        record = Record(key="no portal/x", value=b"{}", timestamp_ms=1_796_000_000_000, headers=headers)
        night.do(night.site.producer.send(names.dead(night.settings.topic), record))

    found = page(night, "/dead")
    addresses = [address for address in found.attributes["href"] if address.startswith("/dead/")]

    assert [row["id"] for row in found.tables[0]] == ["a/b?c#d% e", "\N{REPLACEMENT CHARACTER}"]
    assert [page(night, address).texts["h1"] for address in addresses] == [
        ["Dead letter a/b?c#d% e"],
        ["Dead letter \N{REPLACEMENT CHARACTER}"],
    ]
    assert not [address for address in found.attributes["href"] if address == "" or "portals/" in address]
    assert len(night.rows("dead", "list")) == 2


def test_what_is_sealed_stays_so(bad_night: Night) -> None:
    sealed = page(bad_night, "/quarantine/sealed")
    cut = page(bad_night, f"/quarantine/{QUARANTINED}")

    assert "it is sealed, and this page opens nothing: `forebay quarantine show` does" in sealed.texts["dd"]
    assert "event=ONCRMDEALADD&broken=1" in cut.texts["dd"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/dead/none", 404, "no open dead letter has the id none"),
        ("/groups/none", 404, "nobody ever read as group none"),
        ("/dead?portal=a%20b", 400, "--portal"),
        ("/nothing", 404, "there is nothing at this address"),
    ],
)
def test_what_is_not_there_is_said(bad_night: Night, path: str, status: int, said: str) -> None:
    found = asked(bad_night, path)

    assert found.status_code == status
    assert said in found.text


def test_who_looks_for_a_portal_is_led_to_its_page(night: Night) -> None:
    found = asked(night, f"/portals?portal={WELL.upper()}")

    assert (found.status_code, found.headers["location"]) == (302, f"/portals/{WELL}")
    assert asked(night, "/portals").status_code == 200


def test_a_topic_that_is_none_is_told_and_not_made(night: Night) -> None:
    paths = ("/", "/groups/forebay", "/parked", "/dead", "/quarantine", f"/portals/{WELL}", "/audit")

    found = [asked(night, path, topic="typo") for path in paths]

    assert {one.status_code for one in found} <= {200, 404, 503}
    assert len(night.do(night.site.queue.missing(names.streams("typo"), 4))) == len(names.streams("typo"))


def test_every_command_that_a_page_names_is_there(bad_night: Night) -> None:
    [letter, *_] = bad_night.rows("dead", "list")
    paths = ["/", "/groups/forebay", "/parked", "/dead", f"/dead/{letter['id']}", "/quarantine", "/quarantine/sealed"]
    pages = [page(bad_night, path) for path in (*paths, "/portals", f"/portals/{FAILS}", "/audit")]
    named = {code for found in pages for code in found.texts["code"]}

    # Each with its own words, and so that it does nothing.
    commands = {code: [word for word in code.split()[1:] if word != "--help"] for code in named}
    failed = {code for code, words in commands.items() if bad_night.command(*words, "--help").exit_code}

    assert len(named) > 12
    assert failed == set()
