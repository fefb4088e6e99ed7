"""A portal as the facts describe it."""

from collections.abc import Iterator
from typing import NamedTuple

from . import facts
from .facts import Key


class DataKey(NamedTuple):
    """A key that the secrets of one portal are sealed with: its id, and the key itself as somebody has encrypted it."""

    id: str
    wrapped: bytes
    #: When it was made; 0 where a Forebay has made it that did not say.
    at_ms: int = 0


class Home(NamedTuple):
    """Under which name a portal's events stand."""

    id: str
    portal: str


class Seen(NamedTuple):
    """That a token came without a proof."""

    application: str
    key_id: str
    domain: str
    at_ms: int
    #: What it may still be verified with, sealed; and why it was refused, if it was.
    trial: bytes | None
    refused: str


class Proof(NamedTuple):
    """That a token is the portal's, and what has proved it."""

    application: str
    key_id: str
    domain: str
    at_ms: int
    how: str


class Pin:
    """An application token of a member, known by its keyed hash alone."""

    __slots__ = ("digest", "member", "proof", "seen")

    def __init__(self, member: "Member", digest: bytes) -> None:
        self.member, self.digest = member, digest
        self.proof: Proof | None = None
        self.seen: Seen | None = None

    @property
    def application(self) -> str:
        """Whose token it is."""
        known = self.proof or self.seen
        return known.application if known else ""


class Member:
    """A portal, by its member_id. What there may be several of stands in the order of the log, the last one last.

    Of its tokens that is so for those that are proved.
    """

    __slots__ = ("domains", "era", "given_keys", "homes", "id", "left", "pins", "shredded")

    def __init__(self, id: str) -> None:
        self.id = id
        self.begin("")

    def begin(self, era: str) -> None:
        """Know nothing."""
        self.era = era
        self.homes: tuple[Home, ...] = ()
        #: Every domain under which it came with a proof.
        self.domains: tuple[str, ...] = ()
        self.pins: tuple[Pin, ...] = ()
        #: Those of the log, also those that are shredded; and the ids of these, told by the log or not.
        self.given_keys: tuple[DataKey, ...] = ()
        self.shredded: tuple[str, ...] = ()
        #: Application → when it was uninstalled.
        self.left: tuple[tuple[str, int], ...] = ()

    @property
    def portal(self) -> str | None:
        """The name under which its events stand, once it is proved: the first in the log, for every reader."""
        return self.homes[0].portal if self.homes else None

    @property
    def data_keys(self) -> tuple[DataKey, ...]:
        """The keys that may be had."""
        if not self.shredded:
            return self.given_keys
        return tuple(key for key in self.given_keys if key.id not in self.shredded)

    @property
    def data_key(self) -> DataKey | None:
        """The key to seal with: the first in the log, for every reader."""
        return next(iter(self.data_keys), None)

    def key(self, kind: str, part: str) -> Key:
        """The key of a fact about it."""
        return Key(self.id, self.era, kind, part)

    def fact_keys(self) -> Iterator[Key]:
        """The keys of all facts about it but its era."""
        for pin in self.pins:
            if pin.seen:
                yield self.key(facts.PIN, pin.digest.hex())
            if pin.proof:
                yield self.key(facts.PROOF, pin.digest.hex())
        yield from (self.key(facts.HOME, home.id) for home in self.homes)
        yield from (self.key(facts.DOMAIN, facts.part_of(domain)) for domain in self.domains)
        yield from (self.key(facts.DATA_KEY, key.id) for key in self.given_keys)
        yield from (self.key(facts.SHREDDED, key_id) for key_id in self.shredded)
        yield from (self.key(facts.LEFT, facts.part_of(application)) for application, _ in self.left)
