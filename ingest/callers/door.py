"""The ingest's door: who calls, whether he may call from there, and whether he is known for failing."""

from collections.abc import MutableMapping, Sequence
from typing import Any

from forebay.ingest.errors import AddressNotAllowed, FailsAgain, NotOurPortal
from forebay.ingest.telling import Teller

from .allow_list import AllowList
from .client import client_of
from .failures import MANY, Failures, by_address, by_portal
from .networks import Address, Networks, address_of

#: Where asgi.py puts the lines of X-Forwarded-For in the scope, when there are proxies whose word counts.
FORWARDED = "forebay.forwarded"

#: Where the connection's other end is kept, once it was looked up.
_PEER = "forebay.peer"

_NOWHERE = ""

Scope = MutableMapping[str, Any]


class Door:
    """One for each endpoint; the list and the failures are those of the process. Used on one event loop."""

    def __init__(
        self,
        *,
        proxies: Networks,
        allow_list: AllowList | None,
        failures: Failures,
        teller: Teller,
        proves_otherwise: bool,
    ) -> None:
        self._proxies, self._allow_list, self.failures, self._teller = proxies, allow_list, failures, teller
        #: Whether a call needs another proof than its address. Where it doesn't, an unknown list lets nobody in.
        self._proves_otherwise = proves_otherwise
        self.is_watched = allow_list is not None

    def admit(self, scope: Scope) -> None:
        """Raise `AddressNotAllowed` when the call comes from an address that may not call."""
        allow_list = self._allow_list
        if allow_list is None or (client := self._client(scope)) in allow_list:
            return
        if allow_list.is_known or not self._proves_otherwise:
            raise AddressNotAllowed(self._told(client))

    def fails_again(self, scope: Scope) -> bool:
        """Whether whoever calls from there is known for failing; asked only when somebody is."""
        return self.failures.is_known(self._name(scope))

    def failed(self, scope: Scope, error: NotOurPortal) -> NotOurPortal:
        """Note that a call proved nothing; the error to raise for it, which is silent for those who are known."""
        names = [self._name(scope)]
        if error.portal:
            names.append(by_portal(error.portal))
        counts = [self.failures.note(name) for name in names]
        for name, count in zip(names, counts, strict=True):
            if count == MANY:
                self._teller.warn("calls of somebody are refused again and again; no more of it", who=name)
        return FailsAgain(str(error)) if max(counts) >= MANY else error

    def _told(self, client: Address | None) -> str:
        if client is None:
            return "callers: who calls can't be told by X-Forwarded-For"
        if client in self._proxies:
            return f"callers: the proxy {client} names no caller: have it send X-Forwarded-For"
        return f"callers: {client} is not among those who may call"

    def _client(self, scope: Scope) -> Address | None:
        forwarded: Sequence[bytes] = scope.get(FORWARDED, ())
        return client_of(_peer(scope), forwarded, self._proxies) if self._proxies else address_of(_peer(scope))

    def _name(self, scope: Scope) -> str:
        client = self._client(scope) if self._proxies else None
        return by_address(str(client) if client else _peer(scope))


def _peer(scope: Scope) -> str:
    found: str | None = scope.get(_PEER)
    if found is None:
        # By the ASGI specification an iterable, good for one time only.
        found = scope[_PEER] = str(next(iter(scope.get("client") or (_NOWHERE,))))
    return found
