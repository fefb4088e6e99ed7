"""The portals' data keys for those who open: what the book of this process knows."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from forebay.schemas.data_keys import CannotUnwrap, Named, WrappedKeys, named, unwrap

from .registry import PortalRegistry

#: What one host has written the others know within a second or two; and their clocks differ by some more.
_KNOWN_BY_S = 10.0


class StoredKeys:
    """As `WrappedKeys` in schemas: also for threads, since it only looks things up."""

    def __init__(self, registry: PortalRegistry, now: Callable[[], float] = time.time) -> None:
        self._registry, self._now = registry, now

    def wrapped(self, named: Named) -> bytes | None:
        """As in the protocol."""
        key = self._registry.data_keys.find(named.member_id, named.id)
        return key.wrapped if key else None

    def may_come(self, named: Named, sealed_at: datetime) -> bool:
        """As in the protocol."""
        return self._now() - sealed_at.timestamp() <= _KNOWN_BY_S and self.wrapped(named) is None

    def is_gone(self, named: Named, sealed_at: datetime) -> bool:
        """As in the protocol: the key was kept before the event was, and all that was kept then is known here."""
        is_known = self._registry.following.is_current and self._now() - sealed_at.timestamp() > _KNOWN_BY_S
        return is_known and self.wrapped(named) is None


class Keyring(Mapping[str, bytes]):
    """Every key that opens, by the id that stands beside what it sealed: the seal keys, and the portals' own."""

    def __init__(self, seal_keys: Mapping[str, bytes], stored: WrappedKeys) -> None:
        self._seal_keys, self._stored = seal_keys, stored

    def __getitem__(self, key_id: str) -> bytes:
        whose = named(key_id)
        if whose is None:
            return self._seal_keys[key_id]
        wrapped = self._stored.wrapped(whose)
        if wrapped is None:
            raise KeyError(key_id)
        try:
            return unwrap(wrapped, whose, self._seal_keys)
        except CannotUnwrap as error:
            raise KeyError(key_id) from error

    def __iter__(self) -> Iterator[str]:
        """The seal keys: of the portals' own there may be very many."""
        return iter(self._seal_keys)

    def __len__(self) -> int:
        return len(self._seal_keys)
