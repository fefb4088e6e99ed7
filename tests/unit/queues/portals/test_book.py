"""What the book makes of the facts is the same for every reader, whatever compaction has taken before it came."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from forebay.queues.portals import facts
from forebay.queues.portals.book import Book
from forebay.queues.portals.contract import Fact, PlacedFact
from forebay.queues.portals.facts import Key

MEMBERS = ("one", "two")
ERAS = ("", "e1", "e2")
DIGESTS = ("aa" * 16, "bb" * 16)

SAID: dict[str, dict[str, object]] = {
    facts.PIN: {"app": "app", "key": "k", "domain": "d", "at": 1, "trial": None, "refused": ""},
    facts.PROOF: {"app": "app", "key": "k", "domain": "d", "at": 2, "how": "app.info"},
    facts.HOME: {"portal": "home"},
    facts.DOMAIN: {"domain": "home"},
    facts.LEFT: {"app": "app", "at": 3},
    facts.DATA_KEY: {"wrapped": facts.as_text(b"key")},
    facts.SHREDDED: {},
}


def part_of(kind: str, member: str, digit: int) -> str:
    if kind in (facts.PIN, facts.PROOF):
        # The hash of a token is another for each member.
        return DIGESTS[digit] + member.encode().hex()
    if kind in (facts.DOMAIN, facts.LEFT):
        return facts.part_of(f"name{digit}")
    return f"part{digit}"


@st.composite
def fact_of(draw: st.DrawFn) -> Fact:
    member, era = draw(st.sampled_from(MEMBERS)), draw(st.sampled_from(ERAS))
    if draw(st.integers(0, 9)) == 0:
        return facts.new_era(member, draw(st.sampled_from(ERAS[1:])))
    kind, digit = draw(st.sampled_from(sorted(SAID))), draw(st.integers(0, 1))
    key = Key(member, era, kind, part_of(kind, member, digit))
    if draw(st.integers(0, 3)) == 0:
        return Fact(key.text(), None)
    said = {**SAID[kind], "domain": f"name{digit}"} if kind == facts.DOMAIN else dict(SAID[kind])
    if kind == facts.LEFT:
        said["app"] = f"name{digit}"
    return facts.fact(key, {**said, "at": draw(st.integers(0, 3))})


def read(log: Sequence[PlacedFact]) -> Book:
    book = Book()
    for fact in log:
        book.apply(fact)
    return book


def known(book: Book) -> dict[str, object]:
    """All that can be asked of it. The order of tokens that are not proved means nothing."""
    members = {
        member.id: (
            member.era,
            member.homes,
            member.domains,
            sorted((pin.digest, pin.seen, pin.proof) for pin in member.pins),
            [pin.digest for pin in member.pins if pin.proof],
            member.given_keys,
            member.shredded,
            member.left,
        )
        for member in book.members.values()
    }
    return {**members, "void": book.void, "pins": sorted(book.pins), "waiting": sorted(book.waiting)}


@given(st.lists(fact_of(), max_size=40), st.data())
def test_compaction_changes_nothing_for_who_reads_after_it(said: list[Fact], data: st.DataObject) -> None:
    log = [PlacedFact(at, *fact) for at, fact in enumerate(said)]
    last = {fact.key: fact.offset for fact in log}
    # Compaction takes any of what was replaced, at its leisure.
    left = [fact for fact in log if last[fact.key] == fact.offset or data.draw(st.booleans())]

    assert known(read(left)) == known(read(log))


@given(st.lists(fact_of(), max_size=40), st.data())
def test_what_was_taken_back_may_vanish_altogether(said: list[Fact], data: st.DataObject) -> None:
    log = [PlacedFact(at, *fact) for at, fact in enumerate(said)]
    last = {fact.key: fact.offset for fact in log}
    left = [fact for fact in log if last[fact.key] == fact.offset and fact.value is not None]

    assert known(read(left)) == known(read(log))


@given(st.lists(fact_of(), max_size=40), st.lists(fact_of(), max_size=10))
def test_a_record_that_a_producer_repeats_moves_to_its_new_place_for_all(said: list[Fact], again: list[Fact]) -> None:
    log = [PlacedFact(at, *fact) for at, fact in enumerate([*said, *again, *again])]
    last = {fact.key: fact.offset for fact in log}

    assert known(read(log)) == known(read([fact for fact in log if last[fact.key] == fact.offset]))


@given(st.lists(fact_of(), max_size=30))
def test_every_fact_that_holds_has_a_key_by_which_it_can_be_taken_back(said: list[Fact]) -> None:
    book = read([PlacedFact(at, *fact) for at, fact in enumerate(said)])
    keys = [key.text() for member in book.members.values() for key in member.fact_keys()]

    for at, key in enumerate([*keys, *book.void], len(said)):
        book.apply(PlacedFact(at, key, None))

    # Nobody is left but who was forgotten once.
    assert all(member.era and not list(member.fact_keys()) for member in book.members.values())
    assert not (book.pins or book.waiting or book.void)


def test_what_nobody_can_read_is_left_out() -> None:
    log = [
        Fact("one//proof/" + DIGESTS[0], b"{"),
        Fact("one//proof/no-hex", b"{}"),
        Fact("one//pin/" + DIGESTS[0], b"[]"),
        Fact("one//datakey/a", b'{"wrapped":"?"}'),
        Fact("one//of-a-newer-forebay/a", b"{}"),
        Fact("one", b"null"),
        Fact("", b""),
        facts.fact(Key("one", "", facts.HOME, "a"), {"portal": "home"}),
    ]

    book = read([PlacedFact(at, *fact) for at, fact in enumerate(log)])

    assert book.members["one"].portal == "home"
    assert not book.pins
