"""Lets calls in by what the portal registry knows. One for each endpoint with `auth = "registry"`.

| the token | the call |
|---|---|
| is proved | is taken |
| waits for its proof, or nothing is proved of the portal yet | is taken, and marked as not verified |
| is another than the proved one, and comes with what may prove it | is taken, and marked |
| was found to be none of the portal's | is refused |
| is another than the proved one, and alone | is refused, if all that other hosts know is known here; else marked |
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from forebay.ingest.address import Address
from forebay.ingest.authenticate import Gate, Sender, domain_of
from forebay.ingest.errors import NotOurPortal
from forebay.ingest.form import Form
from forebay.ingest.metrics import PortalCounts
from forebay.ingest.shape import Auth
from forebay.ingest.telling import Teller
from forebay.queues.errors import QueueError
from forebay.queues.portals.members import Member, Pin
from forebay.queues.portals.registry import PortalRegistry

from .homes import Homes
from .naming import Naming
from .verification import Trial, Verification
from .verifier import Claim
from .waits import Waits

#: By these an application says that it is there, or that it is there no more.
_COMES, _UPDATES, _LEAVES = "ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL"

#: What other hosts have written may take so long to be read. A call gives up long before.
_ANSWER_S = 60.0

#: At the stop, what portals have told may still take so long.
_PATIENCE_S = 0.5

#: Bitrix24's have some seventy. A longer one is none, and proves nothing: what waits for its proof stands in the memory
#: of every host for a day.
_ACCESS_TOKEN_CHARS = 512

#: What is noted beside the calls, at once: more is left to the portals' next calls.
_CHORES = 64

_REFUSED = "nothing in this call proves that it comes from one of our portals"


class Doorway:
    """Used on one event loop. A call with a proved token costs a hash and a look into memory."""

    def __init__(
        self,
        application: str,
        gate: Gate,
        registry: PortalRegistry,
        homes: Homes,
        verification: Verification,
        naming: Naming,
        counts: PortalCounts,
        waits: Waits,
        *,
        key_is_member_id: bool,
    ) -> None:
        self._application, self._gate, self._registry, self._homes = application, gate, registry, homes
        self._verification, self._naming, self._counts, self._waits = verification, naming, counts, waits
        self._key_is_member_id = key_is_member_id
        #: Anybody can make up calls that a store refuses to note.
        self._teller = Teller()
        self._chores: set[asyncio.Task[None]] = set()
        self._asking = asyncio.Lock()
        #: How often the store was asked, and whether it has answered the last time.
        self._begun, self._knows_all = 0, False

    def known(self, form: Form, auth: Auth, address: Address) -> Sender | None:
        """The sender of a call with a proved token, which says nothing new of its portal. None for all others, and then
        nothing was done: `admit` sees to them."""
        sender = self._gate.admit(auth, address)
        token, member_id = auth.application_token, sender.member_id
        pin = self._registry.find(self._application, member_id, token) if member_id and token else None
        if pin is None or pin.proof is None or pin.proof.key_id != self._registry.keys.id:
            return None
        says_more = form.fields.get("event", "").upper() in (_COMES, _LEAVES) or self._new_domain(auth, pin.member)
        return None if says_more else self._proved(sender, pin.member, pin)

    async def admit(self, form: Form, auth: Auth, address: Address) -> Sender:
        """The sender, or `NotOurPortal`. The gate asks for no proof here, but a secret that it finds is one."""
        sender = self._gate.admit(auth, address)
        token = auth.application_token
        member_id = sender.member_id
        if member_id is None or not (token or sender.verified):
            if sender.verified:
                return sender
            raise NotOurPortal(_REFUSED, sender.portal)
        pin = self._registry.find(self._application, member_id, token) if token else None
        if pin is not None and pin.proof is not None:
            self._note(form, token, pin)
            return await self._at_home(auth, sender, pin.member, pin)
        if sender.verified:
            member = self._registry.member(member_id)
            if member is None or not member.homes:
                return replace(sender, portal=self._key(sender, member_id))
            return await self._at_home(auth, sender, member)
        return await self._unproved(form, auth, sender, member_id, token)

    async def _at_home(self, auth: Auth, sender: Sender, member: Member, pin: Pin | None = None) -> Sender:
        """The sender under the portal's own key, whatever its domain is by now; its handlers learn of a new one."""
        proved = self._proved(sender, member, pin)
        if domain := self._new_domain(auth, member):
            await self._naming.learn(proved, member, domain)
        return proved

    def _proved(self, sender: Sender, member: Member, pin: Pin | None) -> Sender:
        return Sender(
            portal=self._key(sender, member.id),
            member_id=sender.member_id,
            verified=True,
            address=sender.address,
            member_is_proved=True,
            pin=pin.digest.hex() if pin else "",
        )

    def _new_domain(self, auth: Auth, member: Member) -> str:
        """The domain that the call names, where the portal is not known by it; else empty."""
        domain = domain_of(auth.domain)
        return domain if domain and domain != member.portal and domain not in member.domains else ""

    async def _unproved(self, form: Form, auth: Auth, sender: Sender, member_id: str, token: str) -> Sender:
        # While the registry can't be asked, what is not known may be known elsewhere: no good event is refused.
        knows_all = self._registry.may_judge(self._application, member_id) and await self._refresh()
        pin = self._registry.find(self._application, member_id, token)
        if pin is not None and pin.proof is not None:
            return await self._at_home(auth, sender, pin.member, pin)
        comes = form.fields.get("event", "").upper() in (_COMES, _UPDATES)
        digest = self._registry.keys.digest(self._application, member_id, token)
        may_prove = comes or bool(_access_token(form)) or self._verification.is_trying(digest)
        if pin is None and not may_prove and knows_all and self._registry.may_judge(self._application, member_id):
            raise NotOurPortal(_REFUSED, member_id)
        if pin is not None and pin.seen and pin.seen.refused:
            raise NotOurPortal(_REFUSED, member_id)
        await self._learn(form, auth, member_id, token, pin, comes=comes)
        self._counts.unverified()
        return self._marked(sender, member_id, digest)

    def _marked(self, sender: Sender, member_id: str, digest: bytes) -> Sender:
        portal = self._key(sender, member_id)
        return Sender(portal=portal, member_id=member_id, verified=False, address=sender.address, pin=digest.hex())

    def _key(self, sender: Sender, member_id: str) -> str | None:
        """Under which the portal's events stand: the name that was proved first, as far as one is known."""
        if self._key_is_member_id:
            return sender.portal
        member = self._registry.member(member_id)
        return (member.portal if member else self._homes.of(member_id)) or sender.portal

    async def _learn(self, form: Form, auth: Auth, member_id: str, token: str, pin: Pin | None, *, comes: bool) -> None:
        """Let the token be verified, if there is something to verify it with, and on every host that it waits."""
        access_token = _access_token(form)
        if not access_token and not (comes and pin is None):
            return
        # What can't be kept is no reason to let a portal wait: its next call brings it again.
        if pin is None or (pin.seen and pin.seen.trial is None):
            domain = domain_of(auth.domain) or ""
            await self._in_time(
                lambda: self._keep(self._registry.see(self._application, member_id, token, domain, access_token))
            )
        if access_token:
            claim = Claim(application=self._application, member_id=member_id, access_token=access_token)
            digest = self._registry.keys.digest(self._application, member_id, token)
            self._verification.offer(Trial(digest=digest, claim=claim))

    async def _refresh(self) -> bool:
        """Know what other hosts knew when this was called. One question at a time, for all who wait for it."""
        return await self._in_time(self._ask) and self._knows_all

    async def _ask(self) -> None:
        begun_before = self._begun
        async with self._asking:
            # Of who waited behind a question without an answer nobody repeats it.
            if self._begun == begun_before and not self._waits.is_resting:
                # Not before it has answered: who waited here is told so, also when this call is tired of waiting.
                self._begun, self._knows_all = self._begun + 1, False
                await self._registry.following.refresh(_ANSWER_S)
                self._knows_all = True

    async def _in_time(self, ask: Callable[[], Awaitable[None]]) -> bool:
        """Whether the store of portals has answered; one that is away, or did not answer just now, is not asked."""
        if not self._registry.is_current or not self._waits.are_allowed:
            return False
        try:
            await self._waits.within(ask)
        except (QueueError, TimeoutError) as error:
            words = str(error) or "no answer"
            self._teller.warn("the portals can't be asked; calls are taken unverified", error=words)
            return False
        return True

    def _note(self, form: Form, token: str, pin: Pin) -> None:
        """What a proved call says of its portal; it need not wait for that."""
        event = form.fields.get("event", "")
        if pin.proof and pin.proof.key_id != self._registry.keys.id:
            self._begin(self._registry.hash_anew(pin, token))
        if len(event) == len(_LEAVES) and event.upper() == _LEAVES:
            self._begin(self._registry.leave(pin.member, self._application))
        elif pin.member.left and event.upper() == _COMES:
            self._begin(self._registry.come_back(pin.member, self._application))

    async def close(self) -> None:
        """Let what portals have told be noted, if that takes but a moment. Idempotent."""
        tasks = [*self._chores, *self._naming.noting]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_PATIENCE_S)
            for task in late:
                task.cancel()

    async def _keep(self, chore: Coroutine[Any, Any, None]) -> None:
        # A store that is slow, as one that is just being made, has it in the end, though nobody waits any more.
        task = self._begin(chore)
        if task is not None:
            await asyncio.shield(task)

    def _begin(self, chore: Coroutine[Any, Any, None]) -> "asyncio.Task[None] | None":
        if len(self._chores) >= _CHORES:
            chore.close()
            return None
        task = asyncio.create_task(self._done(chore))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        return task

    async def _done(self, chore: Coroutine[Any, Any, None]) -> None:
        try:
            await chore
        except QueueError as error:
            self._teller.warn("what a portal has told could not be noted", error=str(error))


def _access_token(form: Form) -> str:
    """What the call brings to be proved with; empty where that is nothing."""
    given = form.fields.get("auth[access_token]", "")
    return given if len(given) <= _ACCESS_TOKEN_CHARS else ""
