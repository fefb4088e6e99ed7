"""A key for each portal's secrets, kept where the facts are, wrapped by whoever made it.

For who seals: ask `current` for each event, which is a look into memory. Where there is none yet, make a key, wrap it
(by a seal key), and `propose` it; seal with what it returns, which is the same on every host: the first in the log. One
that was proposed and lost the race is kept beside it, so whatever was sealed with it can be opened; a sealed event has
to name the portal's member_id and the data key's id, and `find` gives that key. Only portals that are proved should
have one: of others anybody can make up any number. While the store is away (`QueueUnavailable`), seal with the seal
key.

To renew the wrapping under another seal key, `rewrap` it under its id. To shred, let `PortalRegistry.forget` forget the
member: every key of it is taken back, also one that some other host proposes meanwhile, and nobody can open what was
sealed with them once the store has let go of the bytes (docs/portals.md says when).
"""

from collections.abc import Collection

from forebay.queues.errors import QueueUnavailable

from . import facts
from .following import Following
from .members import DataKey, Member

#: To write and read back what was written.
_PATIENCE_S = 5.0

#: Of a portal that is forgotten again and again while a key is proposed for it.
_TRIES = 3


class DataKeys:
    """Used on one event loop; `current` and `find` block nobody."""

    def __init__(self, following: Following) -> None:
        self._following = following

    def current(self, member_id: str) -> DataKey | None:
        """The key to seal with."""
        return self._known(member_id).data_key

    def find(self, member_id: str, key_id: str) -> DataKey | None:
        """The key of that id; None when there never was one, or when it was shredded."""
        return next((key for key in self._known(member_id).data_keys if key.id == key_id), None)

    async def propose(self, member_id: str, key: DataKey) -> DataKey:
        """The key that all hosts seal with from now on: this one, unless another was first. It is kept durably.

        The id must be a new one, of letters, digits, `-` and `_`. Raises `QueueUnavailable`.
        """
        for _ in range(_TRIES):
            if (current := self.current(member_id)) is not None:
                return current
            member = await self._put(member_id, key)
            if member and member.data_key:
                return member.data_key
        raise QueueUnavailable(f"portal {member_id} is being forgotten; a key for it was not kept")

    def ids(self, member_id: str) -> frozenset[str]:
        """The keys of the portal, also those that nobody seals with."""
        return frozenset(key.id for key in self._known(member_id).data_keys)

    def older(self, member_id: str, at_ms: int) -> frozenset[str]:
        """Those that were made before."""
        return frozenset(key.id for key in self._known(member_id).data_keys if key.at_ms < at_ms)

    async def shred(self, member_id: str, key_ids: Collection[str]) -> int:
        """Take back these keys of the portal, and say how many: what they sealed can't be opened any more.

        The rest of what is known of it stays, and a key that it has got since. Raises `QueueUnavailable`.
        """
        await self._following.refresh(_PATIENCE_S)
        member = self._known(member_id)
        doomed = [key.id for key in member.data_keys if key.id in key_ids]
        if doomed:
            # Who wraps one anew at this moment writes it once more, and that must be void.
            said = [facts.fact(member.key(facts.SHREDDED, key_id), {}) for key_id in doomed]
            taken = [facts.taken_back(member.key(facts.DATA_KEY, key_id)) for key_id in doomed]
            await self._following.put([*said, *taken], _PATIENCE_S)
        return len(doomed)

    async def rewrap(self, member_id: str, key: DataKey) -> bool:
        """Replace the wrapping of a key; whether it is there. Raises `QueueUnavailable`."""
        if self.find(member_id, key.id) is None:
            return False
        await self._put(member_id, key)
        return True

    def _known(self, member_id: str) -> Member:
        """What is known of the portal, which may be nothing."""
        return self._following.book.members.get(member_id) or Member(member_id)

    async def _put(self, member_id: str, key: DataKey) -> Member | None:
        place = self._known(member_id).key(facts.DATA_KEY, key.id)
        said: dict[str, object] = {"wrapped": facts.as_text(key.wrapped)}
        if key.at_ms:
            said["at"] = key.at_ms
        book = await self._following.put([facts.fact(place, said)], _PATIENCE_S)
        known = book.members.get(member_id)
        if place.text() in book.void or (known and key.id in known.shredded):
            # It was forgotten or shredded in between, and that must hold for this key too.
            await self._following.put([facts.taken_back(place)], _PATIENCE_S)
        return known
