"""What becomes of an event whose portal was not verified when it came."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from forebay.processors.health import Health
from forebay.processors.outcome import Unprovable, Unproved
from forebay.processors.proving import Proving, judged_by
from forebay.queues.contract import PlacedRecord
from forebay.queues.memory import MemoryQueue
from forebay.queues.portals import facts
from forebay.queues.portals.book import Book
from forebay.queues.portals.contract import Fact, PlacedFact
from forebay.queues.portals.facts import Key
from forebay.queues.portals.members import Pin
from forebay.schemas import names
from forebay.schemas.event import Body, PortalEvent, Subscription

MEMBER, MINE, OTHER = "m1", "aa" * 16, "bb" * 16
DAY_S = 86_400.0
SAID = {"app": "app", "key": "k", "domain": "d", "at": 1}

EVENT = PortalEvent(
    id="1",
    portal="a.bitrix24.com",
    member_id=MEMBER,
    kind="event",
    name="ONCRMDEALADD",
    occurred_at=None,
    received_at=datetime.now(UTC),
    subscription=Subscription(id=None, endpoint="/bitrix24", verified=False),
    body=lambda: Body(fields={}),
)


def book_of(*, mine: str = "", other: str = "") -> Book:
    """A book that knows these two tokens as `proved`, `asked`, `seen`, or `refused`."""
    book = Book()
    for at, (digest, state) in enumerate(((MINE, mine), (OTHER, other))):
        if state == "proved":
            said = facts.fact(Key(MEMBER, "", facts.PROOF, digest), {**SAID, "how": "app.info"})
            book.apply(PlacedFact(5, *facts.fact(Key(MEMBER, "", facts.HOME, "1"), {"portal": EVENT.portal})))
        elif state:
            trial = facts.as_text(b"sealed") if state == "asked" else None
            more = {"trial": trial, "refused": "it lied" if state == "refused" else ""}
            said = facts.fact(Key(MEMBER, "", facts.PIN, digest), {**SAID, **more})
        else:
            continue
        book.apply(PlacedFact(at, *said))
    return book


@pytest.mark.parametrize(
    ("mine", "other", "age_s", "is_known", "outcome"),
    [
        ("proved", "", 5.0, True, Pin),
        ("proved", "", 2 * DAY_S, False, Pin),
        ("", "", 5.0, True, Unproved),
        ("seen", "", DAY_S - 1, True, Unproved),
        ("seen", "", DAY_S, True, Unprovable),
        ("seen", "", DAY_S, False, Unprovable),
        ("refused", "", 5.0, True, Unprovable),
        ("refused", "", 5.0, False, Unproved),
        ("asked", "proved", 59.0, True, Unproved),
        ("asked", "proved", 60.0, True, Unprovable),
        ("seen", "proved", 1.0, True, Unprovable),
        ("", "proved", 1.9, True, Unproved),
        ("", "proved", 2.0, True, Unprovable),
        ("", "proved", 3600.0, False, Unproved),
    ],
)
def test_it_waits_as_long_as_it_may_still_be_proved(
    mine: str, other: str, age_s: float, is_known: bool, outcome: type
) -> None:
    judged = judged_by(book_of(mine=mine, other=other), EVENT, MINE, age_s, is_known=is_known)

    assert isinstance(judged, outcome)


@pytest.mark.parametrize(("taken", "outcome"), [(EVENT.portal, Unprovable), ("b.bitrix24.com", Pin)])
def test_a_proved_portal_that_came_under_the_name_of_another_one_is_not_verified(taken: str, outcome: type) -> None:
    book = Book()
    for at, said in enumerate(
        [
            facts.fact(Key(MEMBER, "", facts.PROOF, MINE), {**SAID, "how": "app.info"}),
            facts.fact(Key(MEMBER, "", facts.HOME, "1"), {"portal": "its-own.bitrix24.com"}),
            facts.fact(Key("m2", "", facts.HOME, "1"), {"portal": taken}),
        ]
    ):
        book.apply(PlacedFact(at, *said))

    assert isinstance(judged_by(book, EVENT, MINE, 1.0, is_known=True), outcome)


@pytest.mark.parametrize(("since_s", "outcome"), [(1.0, Unproved), (59.0, Unproved), (60.0, Pin), (DAY_S, Pin)])
def test_the_portals_name_stands_behind_the_proof_and_is_waited_for_as_long_as_it_may_come(
    since_s: float, outcome: type
) -> None:
    book, age_s = Book(), 2 * DAY_S
    at_ms = int((EVENT.received_at.timestamp() + age_s - since_s) * 1000)
    said = {**SAID, "at": at_ms, "how": "app.info"}
    book.apply(PlacedFact(0, *facts.fact(Key(MEMBER, "", facts.PROOF, MINE), said)))

    judged = judged_by(book, EVENT, MINE, age_s, is_known=True)

    assert isinstance(judged, outcome)
    # However old the event is.
    assert not isinstance(judged, Unproved) or judged.wait_s < 1.0


def test_a_proved_portal_whose_name_was_never_told_speaks_under_the_confirmed_one_and_not_as_another() -> None:
    proving = Proving(MemoryQueue(), "events", Health())
    said = {**SAID, "domain": "its-own.bitrix24.com", "how": "app.info"}
    book = proving._registry.following.book
    book.apply(PlacedFact(0, *facts.fact(Key(MEMBER, "", facts.PROOF, MINE), said)))
    mark = ((names.PIN, MINE.encode()),)
    record = PlacedRecord("a.bitrix24.com", b"", 1, mark, stream="events", partition=0, offset=0)

    judged = proving.judge(replace(EVENT), record)

    assert isinstance(judged, PortalEvent)
    assert (judged.portal, judged.subscription.verified) == ("its-own.bitrix24.com", True)


@pytest.mark.parametrize(
    ("mine", "age_s", "outcome"),
    [("", 1.9, Unproved), ("", 2.0, Unprovable), ("asked", 59.0, Unproved), ("seen", 1.0, Unprovable)],
)
def test_a_made_up_portal_holds_up_no_events_of_the_proved_one_whose_name_it_uses(
    mine: str, age_s: float, outcome: type
) -> None:
    book = book_of(mine=mine)
    book.apply(PlacedFact(9, *facts.fact(Key("m2", "", facts.HOME, "1"), {"portal": EVENT.portal})))

    assert isinstance(judged_by(book, EVENT, MINE, age_s, is_known=True), outcome)


def test_the_name_of_a_portal_that_is_forgotten_is_anybodys() -> None:
    book = book_of()
    for at, said in enumerate(
        [
            facts.fact(Key("m2", "", facts.HOME, "1"), {"portal": EVENT.portal}),
            facts.fact(Key("m2", "", facts.HOME, "2"), {"portal": EVENT.portal}),
            Fact(Key("m2", "", facts.HOME, "2").text(), None),
            facts.new_era("m2", "e"),
        ]
    ):
        book.apply(PlacedFact(at, *said))

    assert isinstance(judged_by(book, EVENT, MINE, DAY_S - 1, is_known=True), Unproved)


@pytest.mark.parametrize("mark", ["", "no-hex"])
def test_without_a_mark_nothing_can_prove_it(mark: str) -> None:
    judged = judged_by(book_of(mine="proved"), EVENT, mark, 5.0, is_known=True)

    assert isinstance(judged, Unprovable if not mark else Unproved | Unprovable)


@pytest.mark.parametrize(("age_s", "wait_s"), [(0.0, 0.25), (3.0, 3.0), (100.0, 100.0), (5000.0, 900.0)])
def test_it_waits_as_long_again_as_it_is_old(age_s: float, wait_s: float) -> None:
    judged = judged_by(book_of(mine="seen"), EVENT, MINE, age_s, is_known=True)

    assert isinstance(judged, Unproved)
    assert judged.wait_s == wait_s


async def test_that_the_portals_were_not_read_yet_is_told_until_they_are_though_no_event_waits_for_it() -> None:
    health = Health()
    proving = Proving(MemoryQueue(), "events", health)
    record = PlacedRecord("a.bitrix24.com", b"", 1, stream="events", partition=0, offset=0)

    judged = proving.judge(replace(EVENT), record)
    before = health.parts()["portals"]
    proving.open()
    await proving._registry.following.tried(60)

    assert isinstance(judged, Unprovable)
    assert before == {"state": "degraded", "why": "the portals are not read yet"}
    assert health.parts()["portals"] == {"state": "ok", "why": ""}
    await proving.close()
