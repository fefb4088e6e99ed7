"""The worker that verifies tokens: those of this host's calls at once, and those that another host has left."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from forebay.ingest.metrics import PortalCounts
from forebay.ingest.telling import Teller
from forebay.queues.errors import QueueError
from forebay.queues.portals.members import Pin
from forebay.queues.portals.registry import PortalRegistry
from forebay.schemas.logger import get_logger

from .unkept import Found, Unkept
from .verifier import Claim, Confirmed, Denied, Unavailable, Unknown, Verifier

log = get_logger(__name__)

#: So many questions are under way at once, and so many more may wait. Who finds no room is asked about later.
_AT_ONCE = 4
_ROOM = 1000

#: After each question, so that made-up calls without end don't make us a burden to the OAuth servers: 20 a second.
_PAUSE_S = 0.2

#: Between two looks at what waits, some seconds more or less, so that hosts don't look at the same time.
_LOOK_EVERY_S = 15.0

#: The host that saw a token has verified it by then, or is gone.
_LEFT_MS = 20_000

#: What is not verified within a day is none.
_LONGEST_MS = 24 * 3_600_000

#: To know what was noted just now.
_PATIENCE_S = 5.0

#: Facts that are taken back at once.
_SWEPT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A token that is to be verified, by its hash, and what it came with."""

    digest: bytes
    claim: Claim


class Verification:
    """Used on one event loop. Calls only put their trials here, and never wait."""

    def __init__(
        self,
        registry: PortalRegistry,
        verifier: Verifier,
        counts: PortalCounts,
        *,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._registry, self._verifier, self._counts = registry, verifier, counts
        self._draw = draw
        self._trials: asyncio.Queue[Trial] = asyncio.Queue(_ROOM)
        self._unkept = Unkept(registry)
        #: Those that are in the queue or under way.
        self._known: set[bytes] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._teller = Teller()
        #: Why the OAuth server gave no answer the last time.
        self._silence = ""

    def open(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._verify_all()) for _ in range(_AT_ONCE)]
        self._tasks.append(asyncio.create_task(self._look_again()))
        self._tasks.append(asyncio.create_task(self._unkept.repeat()))

    def is_trying(self, digest: bytes) -> bool:
        """Whether the token may turn out to be its portal's at any moment, also if nobody could note it."""
        return digest in self._known or digest in self._unkept

    def offer(self, trial: Trial) -> None:
        """Verify it soon, unless that is under way."""
        if not self.is_trying(trial.digest) and not self._trials.full():
            self._known.add(trial.digest)
            self._trials.put_nowait(trial)

    async def _verify_all(self) -> None:
        while True:
            trial = await self._trials.get()
            try:
                await self._verify(trial)
            except QueueError as error:
                # A proof is held until it can be; all else waits in the store, or comes with the portal's next call.
                log.warning("what was found of a portal could not be kept", error=str(error), **_about(trial))
            except Exception as error:  # a verifier's fault must not end the verifying of all other portals
                log.error("a portal could not be verified: a fault", error=type(error).__name__, **_about(trial))
            finally:
                self._known.discard(trial.digest)
            await asyncio.sleep(_PAUSE_S)

    async def _verify(self, trial: Trial) -> None:
        verdict = await self._verifier.verdict(trial.claim)
        match verdict:
            case Confirmed(domain=domain):
                self._counts.verified("confirmed")
                claim = trial.claim
                await self._unkept.keep(
                    Found(application=claim.application, member_id=claim.member_id, digest=trial.digest, domain=domain)
                )
                log.info("a portal is verified", domain=domain, **_about(trial))
            case Denied(reason=reason):
                self._counts.verified("denied")
                # Who has a portal of his own can cause it as often as he likes.
                self._teller.warn("a portal is not the one that it says it is", reason=reason, **_about(trial))
                await self._note(trial, refused=reason)
            case Unknown(reason=reason):
                self._counts.verified("unknown")
                # Anybody can cause it as often as he likes: it is counted, and the log stays short.
                log.debug("a portal can't be verified by this call", reason=reason, **_about(trial))
                await self._note(trial)
            case Unavailable(reason=reason):
                self._counts.verified("unavailable")
                self._tell_once(reason)
                return
        self._silence = ""

    async def _note(self, trial: Trial, *, refused: str = "") -> None:
        # The call may have noted it a moment ago.
        book = await self._registry.following.refresh(_PATIENCE_S)
        pin = book.pins.get(trial.digest)
        if pin and not pin.proof:
            await self._registry.keep_waiting(pin, refused=refused)

    def _tell_once(self, reason: str) -> None:
        if reason != self._silence:
            log.warning("portals can't be verified now; they are tried again", reason=reason)
        self._silence = reason

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(self._draw(_LOOK_EVERY_S / 2, _LOOK_EVERY_S))
            try:
                await self.look()
            except Exception as error:  # whatever it is: no look would ever follow
                log.warning("portals that wait can't be looked at now", error=str(error))

    async def look(self) -> None:
        """Take over what others have left, and forget what has waited for too long. Raises `QueueError`."""
        now_ms = self._registry.now_ms()
        waiting = list(self._registry.following.book.waiting.values())
        old = [pin for pin in waiting if pin.seen and now_ms - pin.seen.at_ms > _LONGEST_MS]
        for pin in waiting:
            if pin.seen and pin.seen.trial and _LEFT_MS < now_ms - pin.seen.at_ms <= _LONGEST_MS:
                self._take_over(pin)
        await self._registry.drop(old[:_SWEPT])
        for pin in old[:_SWEPT]:
            self._counts.expired()
            log.warning("a portal was not verified within a day, and is forgotten", member_id=pin.member.id)
        await self._registry.sweep(_SWEPT)

    def _take_over(self, pin: Pin) -> None:
        seen = pin.seen
        token = self._registry.keys.unsealed(seen.trial, pin.digest, seen.key_id) if seen and seen.trial else None
        if token:
            claim = Claim(application=pin.application, member_id=pin.member.id, access_token=token)
            self.offer(Trial(digest=pin.digest, claim=claim))

    async def close(self) -> None:
        """Verify no more. What waits stands in the store. Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _about(trial: Trial) -> dict[str, str]:
    return {"member_id": trial.claim.member_id, "application": trial.claim.application}
