"""The portal registry: what a process knows of the portals, and how it adds to it."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from secrets import token_hex

from . import facts
from .book import Book
from .contract import Fact, PortalStore
from .data_keys import DataKeys
from .following import Following
from .members import Member, Pin, Proof, Seen
from .sent import Sent
from .tokens import TokenKeys

#: To write and read back what was written.
_PATIENCE_S = 5.0

#: A store that hangs holds no stop up for longer.
_CLOSE_S = 2.0

#: No two eras or names of one portal may meet.
_ID_BYTES = 6

_NONCE_BYTES = 12

#: Learned tokens of one portal and application that are known at once: after an update the one before still comes for a
#: while.
_PROOFS = 4

#: How a token was proved that an operator has given: it makes room for no other, as nobody would give it again.
_BY_HAND = "operator"

#: So many tokens may wait for their proof: of one portal, and of all. Anybody can make up any number.
_WAITING_OF_ONE = 8
_WAITING = 20_000

_MS = 1_000_000


class PortalRegistry:
    """One for a process, used on one event loop. Each of its writes raises `QueueUnavailable` when it can't be done."""

    def __init__(self, store: PortalStore, keys: TokenKeys, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._store, self.keys = store, keys
        self._clock_ns = clock_ns
        self._sent = Sent()
        self.following = Following(store)
        self.data_keys = DataKeys(self.following)

    def open(self) -> None:
        """Begin to read; the store need not be there yet."""
        self.following.open()

    async def close(self) -> None:
        """Let go of the store; of one that hangs, after two seconds. Idempotent."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self.following.close()
                await self._store.close()

    @property
    def is_current(self) -> bool:
        """Whether what other hosts have written is known here, but for the last moments."""
        return self.following.is_current

    def now_ms(self) -> int:
        """The time as facts have it."""
        return self._clock_ns() // _MS

    def find(self, application: str, member_id: str, token: str) -> Pin | None:
        """What is known of the member's token. A look into memory."""
        return self.keys.find(self.following.book.pins, application, member_id, token)

    def member(self, member_id: str) -> Member | None:
        """What is known of the portal."""
        return self.following.book.members.get(member_id)

    def may_judge(self, application: str, member_id: str) -> bool:
        """Whether a token that is not known is not the portal's: another is proved, by a key that we have.

        Where nothing more is noted it may be one that was left out.
        """
        member = self.member(member_id)
        proofs = [pin.proof for pin in member.pins if pin.proof] if member else []
        key_ids = {proof.key_id for proof in proofs if proof.application == application}
        return bool(key_ids) and key_ids <= self.keys.ids and self._may_wait(member_id)

    async def see(self, application: str, member_id: str, token: str, domain: str, access_token: str) -> None:
        """Note that the token came, so that any host may verify it. Never changes what is proved.

        When too many wait already, it is left out.
        """
        member = self.member(member_id) or Member(member_id)
        digest = self.keys.digest(application, member_id, token)
        if not self._has_room(member_id, digest):
            return
        trial = self.keys.seal(access_token, digest, os.urandom(_NONCE_BYTES)) if access_token else None
        seen = Seen(application, self.keys.id, domain, self.now_ms(), trial, "")
        # Not read back: the portal waits for its answer, and other hosts learn of it as soon as we do.
        await self.following.keep([_seen(member, digest, seen)], _PATIENCE_S)

    def _has_room(self, member_id: str, digest: bytes) -> bool:
        if digest in self.following.book.waiting or digest in self._sent:
            return True
        if not self._may_wait(member_id):
            return False
        self._sent.add(member_id, digest)
        return True

    def _may_wait(self, member_id: str) -> bool:
        """Whether one more token of the portal would be noted."""
        self._sent.forget_old()
        waiting, member = self.following.book.waiting, self.member(member_id)
        of_one = sum(pin.digest in waiting for pin in member.pins) if member else 0
        is_full = len(waiting) + len(self._sent) >= _WAITING
        return not is_full and of_one + self._sent.of(member_id) < _WAITING_OF_ONE

    async def keep_waiting(self, pin: Pin, *, refused: str = "") -> None:
        """Note of a token that waits that it can't be verified with what came with it, or that it is none at all."""
        if pin.seen:
            await self._put([_seen(pin.member, pin.digest, pin.seen._replace(trial=None, refused=refused))])

    async def prove(
        self,
        application: str,
        member_id: str,
        digest: bytes,
        domain: str,
        how: str,
        *,
        replaced: bytes | None = None,
    ) -> None:
        """Note that the token is the portal's. The domain is where its events stand from the first proof on.

        With the hash that it is known by so far, it takes that one's place.
        """
        # Its era has to be known: what is said in another one is void.
        await self.following.reached(-1, _PATIENCE_S)
        member = self.member(member_id) or Member(member_id)
        proof = Proof(application, self.keys.id, domain, self.now_ms(), how)
        said = {"app": proof.application, "key": proof.key_id, "domain": domain, "at": proof.at_ms, "how": how}
        learned = [
            pin.digest
            for pin in member.pins
            if pin.proof and pin.proof.how != _BY_HAND and pin.application == application
            if pin.digest not in (digest, replaced)
        ]
        old = learned[: max(0, len(learned) - _PROOFS + 1)] if how != _BY_HAND else []
        gone = old if replaced in (None, digest) else [*old, replaced]
        await self._put(
            [
                # First: who has read the proof alone would take the domain for a new one, and so if we die in between.
                *self._home(member, domain),
                facts.fact(member.key(facts.PROOF, digest.hex()), said),
                facts.taken_back(member.key(facts.PIN, digest.hex())),
                *(facts.taken_back(member.key(facts.PROOF, one.hex())) for one in gone),
            ]
        )

    def _home(self, member: Member, domain: str) -> list[Fact]:
        if member.homes:
            return []
        # A key of its own for each who states it: the first in the log holds, and no repetition moves it.
        return [facts.fact(member.key(facts.HOME, token_hex(_ID_BYTES)), {"portal": domain})]

    async def add(self, application: str, member_id: str, token: str, domain: str) -> None:
        """Note a token that was learned another way: from an application's frame, or from a webhook's page."""
        await self.prove(application, member_id, self.keys.digest(application, member_id, token), domain, _BY_HAND)

    async def hash_anew(self, pin: Pin, token: str) -> None:
        """Keep a proved token under the first key, so that the one that hashed it can go."""
        if pin.proof is None:
            return
        digest = self.keys.digest(pin.application, pin.member.id, token)
        proof = pin.proof
        await self.prove(pin.application, pin.member.id, digest, proof.domain, proof.how, replaced=pin.digest)

    async def rename(self, member: Member, domain: str) -> None:
        """Note a domain under which the portal came."""
        await self._put([facts.fact(member.key(facts.DOMAIN, facts.part_of(domain)), {"domain": domain})])

    async def leave(self, member: Member, application: str) -> None:
        """Note that the portal has uninstalled the application. Its token stays: events may still be on their way."""
        key = member.key(facts.LEFT, facts.part_of(application))
        await self._put([facts.fact(key, {"app": application, "at": self.now_ms()})])

    async def come_back(self, member: Member, application: str) -> None:
        """Note that it has installed it again."""
        await self._put([facts.taken_back(member.key(facts.LEFT, facts.part_of(application)))])

    async def drop(self, pins: Sequence[Pin]) -> None:
        """Forget tokens that waited for too long."""
        if pins:
            await self._put([facts.taken_back(pin.member.key(facts.PIN, pin.digest.hex())) for pin in pins])

    async def sweep(self, most: int) -> None:
        """Take back what is void, so that the store can let go of it."""
        void = sorted(self.following.book.void)[:most]
        if void:
            await self._put([Fact(key, None) for key in void])

    async def forget(self, member_id: str) -> bool:
        """Take back everything that was said of the portal, its data keys too; whether anything was.

        What other hosts say of it meanwhile, without knowing, is void. It may come again as a new one.
        """
        book = await self.following.refresh(_PATIENCE_S)
        known = book.members.get(member_id)
        gone = [facts.taken_back(key) for key in known.fact_keys()] if known else []
        book = await self._put([facts.new_era(member_id, token_hex(_ID_BYTES)), *gone])
        late = [key for key in book.void if key.startswith(f"{member_id}/")]
        if late:
            await self._put([Fact(key, None) for key in late])
        return bool(gone)

    async def _put(self, said: Sequence[Fact]) -> Book:
        return await self.following.put(said, _PATIENCE_S)


def _seen(member: Member, digest: bytes, seen: Seen) -> Fact:
    trial = facts.as_text(seen.trial) if seen.trial else None
    said = {"app": seen.application, "key": seen.key_id, "domain": seen.domain, "at": seen.at_ms}
    return facts.fact(member.key(facts.PIN, digest.hex()), {**said, "trial": trial, "refused": seen.refused})
