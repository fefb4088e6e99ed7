"""The recipe of docs/reconcile.md, against a portal that answers as Bitrix24 does."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from forebay import PortalEvent
from forebay.processors.outcome import Done, Outcome, Rejected, RetryAsked
from forebay.processors.testing import event, run_now
from tests.answers import called
from tests.bitrix24.portal import PAGE, FakePortal
from tests.clock import Clock

DOCS = Path(__file__).parents[2] / "docs"
PORTAL = "example.bitrix24.com"
FROM = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def portal(clock: Clock) -> Iterator[FakePortal]:
    with FakePortal(burst=4, clock=clock) as made:
        yield made


@pytest.fixture
def recipe(portal: FakePortal) -> Any:
    """The module, with the portal's webhook, and without its pauses."""
    spec = spec_from_file_location("reconcile", DOCS / "reconcile.py")
    assert spec and spec.loader
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.WEBHOOKS, module.PAUSE_S = {PORTAL: portal.webhook}, 0
    return module


def marker(portal: str = PORTAL) -> PortalEvent:
    """As the ingest writes it."""
    data = {
        "FROM": FROM.isoformat(timespec="milliseconds"),
        "TO": (FROM + timedelta(minutes=5)).isoformat(timespec="milliseconds"),
        "REASON": "not_kept",
        "COUNT": "7",
    }
    return event("ONFOREBAYGAP", data=data, portal=portal)


def copied(recipe: Any) -> set[int]:
    return {int(number) for portal, number in recipe.deals if portal == PORTAL}


def test_the_page_shows_the_file() -> None:
    [shown] = re.findall(r"^```python\n(.*?)^```", (DOCS / "reconcile.md").read_text("utf-8"), re.M | re.S)

    assert shown == (DOCS / "reconcile.py").read_text("utf-8")


def test_every_deal_that_changed_since_the_gap_is_fetched_and_no_older_one(recipe: Any, portal: FakePortal) -> None:
    for number in range(1, 121):
        portal.save(number, FROM + timedelta(seconds=number), TITLE=f"deal {number}")
    portal.save(500, FROM - timedelta(minutes=9))
    portal.save(501, FROM - timedelta(hours=1))

    outcome = run_now(recipe.handlers, marker())

    assert isinstance(outcome, Done)
    assert copied(recipe) == {*range(1, 121), 500}
    assert recipe.deals[PORTAL, "7"]["TITLE"] == "deal 7"
    assert [method for method, _ in portal.asked] == ["crm.deal.list"] * 4


def test_a_deal_that_is_deleted_meanwhile_moves_no_other_out_of_the_list(recipe: Any, portal: FakePortal) -> None:
    for number in range(1, 2 * PAGE + 1):
        portal.save(number, FROM)
    portal.turned = lambda: portal.delete(1) if len(portal.asked) == 1 else None

    run_now(recipe.handlers, marker())

    assert copied(recipe) == set(range(1, 2 * PAGE + 1))


def test_a_deal_that_is_changed_meanwhile_is_fetched_too(recipe: Any, portal: FakePortal) -> None:
    for number in range(1, 2 * PAGE + 1):
        portal.save(number, FROM)
    portal.turned = lambda: portal.save(70, FROM + timedelta(hours=1))

    run_now(recipe.handlers, marker())

    assert copied(recipe) == set(range(1, 2 * PAGE + 1))


def test_a_limited_portal_is_asked_later_and_goes_on_where_it_was(
    recipe: Any, portal: FakePortal, clock: Clock
) -> None:
    for number in range(1, 6 * PAGE + 1):
        portal.save(number, FROM)
    event = marker()

    first = run_now(recipe.handlers, event)
    some = copied(recipe)
    again = run_now(recipe.handlers, event)
    clock.now += 10
    second = run_now(recipe.handlers, event)

    for outcome in (first, again):
        assert isinstance(outcome, RetryAsked) and outcome.error.after_s == 10
    assert isinstance(second, Done)
    assert some == set(range(1, 4 * PAGE + 1))
    assert copied(recipe) == set(range(1, 6 * PAGE + 1))
    # Six pages and an empty one, and the two that were refused: none was read twice.
    assert len(portal.asked) == 9
    assert recipe.done == {}


@pytest.mark.parametrize(
    ("status", "body", "after_s"),
    [
        (503, b'{"error": "QUERY_LIMIT_EXCEEDED"}', 10),
        (429, b'{"error": "OPERATION_TIME_LIMIT"}', 60),
        (500, b'{"error": "INTERNAL_SERVER_ERROR"}', 60),
        (502, b"<html>Bad gateway</html>", 60),
        (503, b'{"error": "OVERLOAD_LIMIT"}', None),
        (401, b'{"error": "INVALID_CREDENTIALS"}', None),
        (403, b'{"error": "ACCESS_DENIED"}', None),
    ],
)
def test_an_error_is_waited_for_or_given_up_by_its_code(
    recipe: Any, portal: FakePortal, status: int, body: bytes, after_s: float | None
) -> None:
    portal.answer = status, body

    outcome = run_now(recipe.handlers, marker())

    if after_s is None:
        assert isinstance(outcome, Rejected)
        assert json.loads(body)["error"] in str(outcome.error)
    else:
        assert isinstance(outcome, RetryAsked) and outcome.error.after_s == after_s


def test_a_portal_that_can_not_be_reached_is_asked_later(recipe: Any, portal: FakePortal) -> None:
    recipe.WEBHOOKS = {PORTAL: "http://127.0.0.1:1/rest/1/abc123/"}

    outcome = run_now(recipe.handlers, marker())

    assert isinstance(outcome, RetryAsked)


def test_only_portals_that_are_set_up_are_ever_called(recipe: Any, portal: FakePortal) -> None:
    outcome = run_now(recipe.handlers, marker("stranger.example"))

    assert isinstance(outcome, Rejected)
    assert portal.asked == []


def test_events_of_deals_keep_the_copy(recipe: Any, portal: FakePortal) -> None:
    portal.save(7, FROM, TITLE="new")

    def comes(name: str) -> Outcome:
        return run_now(recipe.handlers, event(name, data={"FIELDS": {"ID": "7"}}, portal=PORTAL))

    comes("ONCRMDEALADD")
    added = dict(recipe.deals)
    comes("ONCRMDEALDELETE")

    assert added[PORTAL, "7"]["TITLE"] == "new"
    assert recipe.deals == {}


def ask(portal: FakePortal, method: str, **given: Any) -> tuple[int, Any]:
    status, told = called(f"{portal.webhook}{method}.json", json.dumps(given).encode())
    return status, json.loads(told)


def test_the_portal_gives_a_list_of_fifty_a_page_and_says_where_the_next_begins(portal: FakePortal) -> None:
    for number in range(1, 61):
        portal.save(number, FROM)

    _, first = ask(portal, "crm.deal.list")
    _, second = ask(portal, "crm.deal.list", start=first["next"])
    _, uncounted = ask(portal, "crm.deal.list", start=-1)

    assert (len(first["result"]), first["next"], first["total"]) == (PAGE, PAGE, 60)
    assert (len(second["result"]), "next" in second) == (10, False)
    assert (len(uncounted["result"]), uncounted["total"], "next" in uncounted) == (PAGE, 0, False)
    assert (first["result"][0]["ID"], first["result"][0]["DATE_MODIFY"]) == ("1", "2026-03-01T15:00:00+03:00")


def test_at_the_portal_pages_by_start_miss_a_deal_when_another_is_deleted(portal: FakePortal) -> None:
    for number in range(1, 61):
        portal.save(number, FROM)

    _, first = ask(portal, "crm.deal.list")
    portal.delete(1)
    _, second = ask(portal, "crm.deal.list", start=first["next"])

    assert "51" not in {deal["ID"] for page in (first, second) for deal in page["result"]}


def test_the_portal_refuses_more_calls_than_its_limit_until_some_time_has_passed(
    portal: FakePortal, clock: Clock
) -> None:
    statuses = [ask(portal, "crm.deal.list")[0] for _ in range(5)]
    clock.now += 0.5
    later = ask(portal, "crm.deal.list")[0]
    status, refused = ask(portal, "crm.deal.list")

    assert statuses == [200, 200, 200, 200, 503]
    assert later == 200
    assert (status, refused["error"]) == (503, "QUERY_LIMIT_EXCEEDED")
