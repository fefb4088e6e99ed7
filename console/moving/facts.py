"""What is known of the portals, carried from one store to the other."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from forebay.console.planning import counted
from forebay.console.reading import portal_store
from forebay.queues.contract import Queue
from forebay.queues.errors import QueueError, Unsupported
from forebay.queues.portals.contract import Fact, PlacedFact, PortalStore
from forebay.queues.portals.facts import DATA_KEY, BadFact, key_in, read

from .errors import CantMove
from .sides import Side

#: Facts that are kept at once.
_AT_ONCE = 500

#: A store that has more says so within that.
_READ_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a queue knows of portals: the last fact of each key in their order, and where the next would stand."""

    facts: list[PlacedFact] = field(default_factory=list)
    end: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What is to be carried of it, where the source's facts end, and how many others the target will not get."""

    facts: list[Fact]
    end: int
    others: int = 0


async def known_by(queue: Queue, topic: str) -> Known:
    """What was taken back is left out; nothing where nothing is kept, or can be."""
    try:
        async with portal_store(queue, topic) as store:
            return Known() if await store.ensure(only_plan=True) else await _read(store)
    except Unsupported:
        return Known()


async def _read(store: PortalStore) -> Known:
    last: dict[str, PlacedFact] = {}
    start, end = 0, await store.end()
    while start < end:
        chapter = await store.read(start, _READ_S)
        for fact in chapter.facts:
            # At its last place.
            last.pop(fact.key, None)
            last[fact.key] = fact
        start = chapter.following
        if chapter.is_end:
            break
    return Known(facts=[fact for fact in last.values() if fact.value is not None], end=end)


def lacking_facts(source: Known, target: Known) -> Learned:
    """Those that the target has not yet. Raises `QueueError` where it knows something of its own."""
    ours = _said(source)
    if strange := [fact for fact in target.facts if ours.get(fact.key) != fact.value]:
        raise QueueError(
            f"the target knows {len(strange)} facts about portals that the source doesn't: two such books can't be "
            "made one, since each may know a portal by another key; move into a queue, or a topic, that knows none"
        )
    known = _said(target)
    return Learned(facts=[_plain(fact) for fact in source.facts if fact.key not in known], end=source.end)


def learned_since(source: Known, target: Known, since: int) -> Learned:
    """Of what the source has learned since it was moved: the keys by which portals' secrets are opened.

    Without them nobody could read what was sealed since. One that is older, and lacks, was shredded in the target, and
    stays so. For the rest the target goes by what it has learned itself.
    """
    known, eras = _said(target), dict(_eras(target))
    new = [fact for fact in source.facts if fact.offset >= since and known.get(fact.key) != fact.value]
    keys = [_plain(fact) for fact in new if fact.key not in known and _opens(fact.key, eras)]
    return Learned(facts=keys, end=source.end, others=len(new) - len(keys))


def _said(known: Known) -> dict[str, bytes | None]:
    return {fact.key: fact.value for fact in known.facts}


def _plain(fact: PlacedFact) -> Fact:
    return Fact(fact.key, fact.value)


def _opens(text: str, eras: Mapping[str, str]) -> bool:
    """Whether the fact is a data key, and would not be void: of a portal that was forgotten there it would be."""
    key = key_in(text)
    return key is not None and key.kind == DATA_KEY and key.era == eras.get(key.member_id, "")


def _eras(known: Known) -> Iterator[tuple[str, str]]:
    for fact in known.facts:
        if key_in(fact.key) is None and fact.value is not None:
            with suppress(BadFact, KeyError):
                yield fact.key, str(read(fact.value)["era"])


async def kept_there(target: Side, found: Learned) -> Learned:
    """What of it the target keeps. Raises `CantMove` where that is nothing, and something is known of a portal."""
    try:
        async with portal_store(target.queue, target.topic):
            return found
    except Unsupported as error:
        # That a portal was forgotten keeps its old facts from coming again, and none can come there.
        portals = {key.member_id for fact in found.facts if (key := key_in(fact.key)) is not None}
        if not portals:
            return replace(found, facts=[])
        raise CantMove(
            f"{target.name} keeps nothing of portals, and of {counted(len(portals), 'portal')} something is known: "
            "take another target, or have the source forget them (forebay portals forget), after which nobody opens "
            "the secrets that they had sealed"
        ) from error


async def carry_facts(queue: Queue, topic: str, facts: list[Fact]) -> None:
    """Keep them in the target, in their order: of two homes of a portal the first counts."""
    async with portal_store(queue, topic) as store:
        await store.ensure()
        for start in range(0, len(facts), _AT_ONCE):
            await store.put(facts[start : start + _AT_ONCE])
