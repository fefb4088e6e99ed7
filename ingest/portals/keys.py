"""A key for each portal's secrets: made when its first secret comes, and gone when the portal is.

Never in the way of a call: where the store of portals can't be asked, the secrets are sealed by the seal key itself.
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from secrets import token_hex

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from forebay.ingest.authenticate import Sender
from forebay.ingest.telling import Teller
from forebay.queues.errors import QueueError
from forebay.queues.portals.members import DataKey
from forebay.queues.portals.registry import PortalRegistry
from forebay.schemas.data_keys import CannotUnwrap, Named, unwrap, wrap
from forebay.schemas.logger import get_logger

from .shreddings import Shredding, Shreddings
from .waits import Waits

log = get_logger(__name__)

#: AES-256, and GCM's own size.
_KEY_BYTES = 32
_NONCE_BYTES = 12

#: No two keys of a portal may have the same id.
_ID_BYTES = 6

#: Beside the calls, and at the stop, so long.
_PATIENCE_S = 0.5

#: A store that has failed is not asked again for so long.
_REST_S = 5.0

#: Keys that are made at once. Who finds no room seals by the seal key; its portal's next call asks again.
_AT_ONCE = 64

#: Open keys that are held in memory, those used last: some 25 MB.
_OPEN = 10_000

#: Between two attempts to shred what could not be shredded.
_AGAIN_S = 5.0

_NS_A_MS = 1_000_000

_NOT_ALONE = "a portal's keys are not shredded: they are not the sender's alone"


class PortalKeys:
    """Used on one event loop."""

    def __init__(
        self,
        registry: PortalRegistry,
        seal_keys: Mapping[str, bytes],
        waits: Waits,
        *,
        shreddings: Shreddings | None = None,
        clock: Callable[[], float] = time.monotonic,
        most: int = _OPEN,
    ) -> None:
        self._registry, self._seal_keys, self._waits = registry, seal_keys, waits
        self._clock, self._most = clock, most
        #: A store that hangs fails for all whose keys are being made.
        self._teller = Teller()
        self._open: OrderedDict[tuple[str, DataKey], AESGCM] = OrderedDict()
        self._making: dict[str, asyncio.Task[None]] = {}
        self._shreddings = shreddings or Shreddings(None)
        self._shredding: dict[asyncio.Task[None], Shredding] = {}
        #: Portals with keys that are to be shredded, and it is not known yet which.
        self._unread: set[str] = set()
        #: Keys that are to be shredded, with their portal: what is sealed by now must not go with them.
        self._doomed: set[tuple[str, str]] = set()
        self._not_before = 0.0

    def __len__(self) -> int:
        """How many open keys are held."""
        return len(self._open)

    def cipher(self, member_id: str) -> tuple[str, AESGCM] | None:
        """What to seal with and its name; None where the portal has no key, or one that can't be used here."""
        key = self._registry.data_keys.current(member_id)
        if key is None or (member_id, key.id) in self._doomed or member_id in self._unread:
            return None
        named = Named(member_id, key.id)
        found = self._open.get((member_id, key))
        if found is None:
            try:
                found = AESGCM(unwrap(key.wrapped, named, self._seal_keys))
            except CannotUnwrap:
                # A host whose settings have not got the newest seal key yet.
                return None
            self._open[member_id, key] = found
            if len(self._open) > self._most:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end((member_id, key))
        return str(named), found

    def has(self, member_id: str) -> bool:
        """Whether the portal has a key."""
        return self._registry.data_keys.current(member_id) is not None

    async def make(self, member_id: str) -> None:
        """Return when the portal has a key, or can't have one just now."""
        making = self._making.get(member_id) or self._begin(member_id)
        # Who may not wait, or is tired of it, leaves the key to those who come later.
        if making is not None and self._waits.are_allowed:
            with suppress(TimeoutError):
                await self._waits.within(lambda: asyncio.wait([making]))

    def _begin(self, member_id: str) -> "asyncio.Task[None] | None":
        is_away = self._registry.following.why_not or self._clock() < self._not_before
        if is_away or len(self._making) >= _AT_ONCE:
            return None
        making = self._making[member_id] = asyncio.create_task(self._make(member_id))
        making.add_done_callback(lambda done: self._making.pop(member_id, None))
        return making

    async def _make(self, member_id: str) -> None:
        named = Named(member_id, token_hex(_ID_BYTES))
        wrapped = wrap(os.urandom(_KEY_BYTES), named, self._seal_keys, os.urandom(_NONCE_BYTES))
        try:
            await self._registry.data_keys.propose(member_id, DataKey(named.id, wrapped, time.time_ns() // _NS_A_MS))
        except QueueError as error:
            self._not_before = self._clock() + _REST_S
            self._teller.warn("a portal's key can't be kept; its secrets are sealed by the seal key", error=str(error))

    async def open(self) -> None:
        """Take up what is still to be shredded since before the start."""
        for name, left in (await asyncio.to_thread(self._shreddings.left)).items():
            self._take_up(name, left)

    async def shred(self, sender: Sender, application: str = "") -> None:
        """The portal has uninstalled the application with its data: take its keys away, for as long as that takes.

        Returns when that is noted, for the call that told it is answered then and does not come again. A disk that
        hangs keeps the answer for a moment only.

        Where only another name than its member_id is proved nothing happens: the member_id is the sender's word. Nor
        while another application of ours is installed there, whose secrets they seal too.
        """
        member_id = sender.proved_member
        if member_id is None or self._has_others(member_id, application):
            log.warning(_NOT_ALONE, portal=sender.portal)
            return
        one = Shredding(
            member_id=member_id,
            portal=sender.portal,
            application=application,
            at_ms=time.time_ns() // _NS_A_MS,
            keys=set(self._registry.data_keys.ids(member_id)) if self._registry.following.was_read else None,
        )
        name = self._shreddings.new_name()
        noting = asyncio.create_task(self._noted(self._shreddings.keep, name, one))
        self._take_up(name, one, noting)
        await asyncio.wait([noting], timeout=_PATIENCE_S)

    def _take_up(self, name: str, one: Shredding, noting: asyncio.Task[None] | None = None) -> None:
        self._doom(one)
        task = asyncio.create_task(self._shred(name, one, noting))
        self._shredding[task] = one
        task.add_done_callback(self._shredding.pop)

    def _doom(self, one: Shredding) -> None:
        """Seal with none of its keys from now on; with no key of the portal as long as it isn't known which."""
        if one.keys is None:
            self._unread.add(one.member_id)
        else:
            self._unread.discard(one.member_id)
            self._doomed |= {(one.member_id, key_id) for key_id in one.keys}

    def _has_others(self, member_id: str, application: str) -> bool:
        member = self._registry.following.book.members.get(member_id)
        proved = {pin.application for pin in member.pins if pin.proof} if member else set()
        left = {name for name, _ in member.left} if member else set()
        return bool(proved - left - {application})

    async def _shred(self, name: str, one: Shredding, noting: asyncio.Task[None] | None) -> None:
        if noting is not None:
            await noting
            await self._look_again(name, one)
        while True:
            try:
                await self._shred_now(one)
            except QueueError as error:
                log.error("a portal's keys can't be shredded just now", portal=one.portal, error=str(error))
                await asyncio.sleep(_AGAIN_S)
            else:
                await self._noted(self._shreddings.done, name)
                return

    async def _look_again(self, name: str, one: Shredding) -> None:
        """Another host may have made a key a moment ago. Later it may be one that the portal got when it came again."""
        if one.keys is None:
            return
        with suppress(QueueError):
            await self._registry.following.refresh(_PATIENCE_S)
            if found := self._registry.data_keys.ids(one.member_id) - one.keys:
                one.keys |= found
                self._doom(one)
                await self._noted(self._shreddings.keep, name, one)

    async def _shred_now(self, one: Shredding) -> None:
        """Raises `QueueError`."""
        if one.keys is None:
            await self._registry.following.refresh(_PATIENCE_S)
            one.keys = set(self._registry.data_keys.older(one.member_id, one.at_ms))
            if self._has_others(one.member_id, one.application):
                log.warning(_NOT_ALONE, portal=one.portal)
                one.keys = set()
            self._doom(one)
        shredded = await self._registry.data_keys.shred(one.member_id, one.keys)
        self._doomed -= {(one.member_id, key_id) for key_id in one.keys}
        self._forget(one.member_id)
        log.info("a portal's secrets are shredded: it was uninstalled", portal=one.portal, keys=shredded)

    async def _noted(self, note: Callable[..., None], *about: object) -> None:
        try:
            await asyncio.to_thread(note, *about)
        # Python says so of a thread that can't be started.
        except (OSError, RuntimeError) as error:
            self._teller.warn("what is to be shredded can't be noted in data_dir", error=str(error))

    def _forget(self, member_id: str) -> None:
        for place in [place for place in self._open if place[0] == member_id]:
            del self._open[place]

    async def close(self) -> None:
        """Let go. What was not shredded by then the next start does; without a folder the log tells. Idempotent."""
        tasks = [*self._making.values(), *self._shredding]
        if tasks:
            await asyncio.wait(tasks, timeout=_PATIENCE_S)
        for task in tasks:
            task.cancel()
        for one in self._shredding.values():
            tell = log.warning if self._shreddings.are_kept else log.error
            tell("a portal's keys were not shredded before the stop", portal=one.portal, keys=len(one.keys or ()))
