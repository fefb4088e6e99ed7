"""All facts about the portals in memory, put together. Every reader that has read as far knows the same.

Nothing here may depend on a fact that was replaced: compaction takes it at any time. A fact that is repeated moves to
its new place for who has seen it before, too.
"""

from collections import Counter
from collections.abc import Callable
from sys import intern
from typing import Any

from forebay.schemas.logger import get_logger

from . import facts
from .contract import PlacedFact
from .facts import BadFact, Key
from .members import DataKey, Home, Member, Pin, Proof, Seen

log = get_logger(__name__)


class Book:
    """Members by id, and pins by the keyed hash of their token."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.pins: dict[bytes, Pin] = {}
        #: Those that are not proved.
        self.waiting: dict[bytes, Pin] = {}
        #: The names under which events of proved portals stand: each with how many portals it is that of.
        self.homes: Counter[str] = Counter()
        #: Those who came under another name than that, too: member_id → the name under which their events stand.
        self.renamed: dict[str, str] = {}
        #: Keys of facts that are void and still stand in the log.
        self.void: set[str] = set()
        self._learn: dict[str, Callable[[Member, str, dict[str, Any]], None]] = {
            facts.PIN: self._see,
            facts.PROOF: self._prove,
            facts.HOME: self._settle,
            facts.DOMAIN: self._name,
            facts.LEFT: _leave,
            facts.DATA_KEY: _give_key,
            facts.SHREDDED: _shred,
        }
        self._unlearn: dict[str, Callable[[Member, str], None]] = {
            facts.PIN: self._unsee,
            facts.PROOF: self._disprove,
            facts.HOME: self._unsettle,
            facts.DOMAIN: self._unname,
            facts.LEFT: _come_back,
            facts.DATA_KEY: _take_key,
            facts.SHREDDED: _unshred,
        }

    def apply(self, fact: PlacedFact) -> None:
        """Learn the next fact. What can't be read is left out: a newer Forebay may have written it."""
        try:
            self._apply(fact)
        except (BadFact, KeyError, TypeError, ValueError) as error:
            log.warning("a fact about a portal can't be read", key=fact.key[:64], error=type(error).__name__)

    def _apply(self, fact: PlacedFact) -> None:
        key = facts.key_in(fact.key)
        if key is None:
            return self._begin(fact)
        member = self.members.get(key.member_id) or Member(key.member_id)
        if fact.value is None:
            self.void.discard(fact.key)
            if key.era == member.era and key.kind in self._unlearn:
                self._unlearn[key.kind](member, key.part)
                self._let_go(member)
        elif key.era != member.era:
            self.void.add(fact.key)
        elif key.kind in self._learn:
            self._learn[key.kind](member, key.part, facts.read(fact.value))
            # An era that is told twice makes void what it holds, until that is told again too.
            self.void.discard(fact.key)
            self.members[key.member_id] = member

    def _let_go(self, member: Member) -> None:
        """Of whom nothing is known any more nothing stays in memory: anybody can make up any number."""
        if not member.era and not any(member.fact_keys()):
            self.members.pop(member.id, None)

    def _begin(self, fact: PlacedFact) -> None:
        if fact.value is None:
            return
        era = str(facts.read(fact.value)["era"])
        member = self.members.setdefault(fact.key, Member(fact.key))
        self.void.update(map(Key.text, member.fact_keys()))
        for pin in member.pins:
            del self.pins[pin.digest]
            self.waiting.pop(pin.digest, None)
        for home in member.homes:
            self._leave_home(home)
        member.begin(era)
        self._look_at_names(member)

    def _see(self, member: Member, part: str, said: dict[str, Any]) -> None:
        seen = Seen(
            intern(said["app"]),
            intern(said["key"]),
            str(said["domain"]),
            int(said["at"]),
            facts.as_bytes(said["trial"]) if said["trial"] else None,
            str(said["refused"]),
        )
        self._pin(member, part).seen = seen
        self._sort(member, part)

    def _prove(self, member: Member, part: str, said: dict[str, Any]) -> None:
        # The same text as that of its home, which stands before it: a hundred thousand are a few megabytes.
        domain = next((home.portal for home in member.homes if home.portal == said["domain"]), str(said["domain"]))
        proof = Proof(intern(said["app"]), intern(said["key"]), domain, int(said["at"]), intern(said["how"]))
        pin = self._pin(member, part)
        pin.proof = proof
        member.pins = (*(other for other in member.pins if other is not pin), pin)
        self._sort(member, part)

    def _unsee(self, member: Member, part: str) -> None:
        self._pin(member, part).seen = None
        self._sort(member, part)

    def _disprove(self, member: Member, part: str) -> None:
        self._pin(member, part).proof = None
        self._sort(member, part)

    def _pin(self, member: Member, part: str) -> Pin:
        digest = bytes.fromhex(part)
        pin = self.pins.get(digest)
        if pin is None:
            pin = self.pins[digest] = Pin(member, digest)
            member.pins = (*member.pins, pin)
        return pin

    def _sort(self, member: Member, part: str) -> None:
        """Let the pin stand where its facts want it."""
        pin = self.pins[bytes.fromhex(part)]
        self.waiting.pop(pin.digest, None)
        if pin.seen and not pin.proof:
            self.waiting[pin.digest] = pin
        if not pin.seen and not pin.proof:
            del self.pins[pin.digest]
            member.pins = tuple(other for other in member.pins if other is not pin)

    def _settle(self, member: Member, part: str, said: dict[str, Any]) -> None:
        self._unsettle(member, part)
        portal = str(said["portal"])
        member.homes = (*member.homes, Home(part, portal))
        self.homes[portal] += 1
        self._look_at_names(member)

    def _unsettle(self, member: Member, part: str) -> None:
        for home in (home for home in member.homes if home.id == part):
            self._leave_home(home)
        member.homes = tuple(home for home in member.homes if home.id != part)
        self._look_at_names(member)

    def _leave_home(self, home: Home) -> None:
        self.homes[home.portal] -= 1
        if not self.homes[home.portal]:
            del self.homes[home.portal]

    def _name(self, member: Member, part: str, said: dict[str, Any]) -> None:
        self._unname(member, part)
        member.domains = (*member.domains, str(said["domain"]))
        self._look_at_names(member)

    def _unname(self, member: Member, part: str) -> None:
        member.domains = tuple(domain for domain in member.domains if facts.part_of(domain) != part)
        self._look_at_names(member)

    def _look_at_names(self, member: Member) -> None:
        if member.portal and any(domain != member.portal for domain in member.domains):
            self.renamed[member.id] = member.portal
        else:
            self.renamed.pop(member.id, None)


def _leave(member: Member, part: str, said: dict[str, Any]) -> None:
    _come_back(member, part)
    member.left = (*member.left, (str(said["app"]), int(said["at"])))


def _come_back(member: Member, part: str) -> None:
    member.left = tuple((application, at) for application, at in member.left if facts.part_of(application) != part)


def _give_key(member: Member, part: str, said: dict[str, Any]) -> None:
    _take_key(member, part)
    member.given_keys = (*member.given_keys, DataKey(part, facts.as_bytes(said["wrapped"]), int(said.get("at", 0))))


def _take_key(member: Member, part: str) -> None:
    member.given_keys = tuple(key for key in member.given_keys if key.id != part)


def _shred(member: Member, part: str, said: dict[str, Any]) -> None:
    _unshred(member, part)
    member.shredded = (*member.shredded, part)


def _unshred(member: Member, part: str) -> None:
    member.shredded = tuple(key_id for key_id in member.shredded if key_id != part)
