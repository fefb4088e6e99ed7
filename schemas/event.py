"""What happened on a portal: the value that the ingest makes and a handler gets."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self

from .data_keys import CannotUnwrap, KnownKey, WrappedKeys, named, raw, unwrap
from .errors import ForebayError
from .form import Pair, as_text
from .lazy import lazy
from .quick_value import quick_value
from .tree import Node, nest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: AES-GCM's own size; drawn at random, one key is good for 2³² events (NIST SP 800-38D, 8.3).
_NONCE_BYTES = 12

KINDS = ("event", "robot", "automation", "sms", "other")


class CannotOpenSecrets(ForebayError):
    """The event's secrets are sealed with a key that is not there (yet), or they were changed since."""


class SecretsShredded(CannotOpenSecrets):
    """The key of this portal's secrets is gone for good: it was uninstalled with its data, or forgotten by an operator.

    A handler that lets it pass gives the event up: no try will ever open them.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """By which subscription of the portal a call came: its id there, our endpoint, and whether its token is proved."""

    id: str | None
    endpoint: str
    verified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The secret pairs of a body, encrypted (AES-256-GCM, the event's id as associated data)."""

    key_id: str
    nonce: bytes
    ciphertext: bytes

    @classmethod
    def by(cls, cipher: "AESGCM", key_id: str, plain: bytes, bound_to: str) -> Self:
        """What is encrypted by the key of that id, for the event of this one alone."""
        nonce = os.urandom(_NONCE_BYTES)
        return cls(key_id=key_id, nonce=nonce, ciphertext=cipher.encrypt(nonce, plain, bound_to.encode()))


@quick_value
class Body:
    """The pairs of a body without its secrets.

    `fields` maps path to text in the order sent. `as_sent` has the pairs one by one, and is there only when the map
    can't give them back: a path that came twice, or bytes that are not UTF-8.
    """

    fields: Mapping[str, str]
    as_sent: tuple[Pair, ...] | None = None

    @classmethod
    def of(cls, pairs: tuple[Pair, ...]) -> Self:
        """The body with these pairs."""
        fields = {as_text(path): as_text(value) for path, value in pairs}
        regular = cls(fields)
        return regular if regular.pairs == pairs else cls(fields, pairs)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every pair, in order and with repeats."""
        return self.as_sent or tuple((path.encode(), value.encode()) for path, value in self.fields.items())


class BodySource(Protocol):
    """Gives the body of an event, which may still have to be decoded."""

    def __call__(self) -> Body:
        """The body; may raise `UndecodableEvent`. Called at most once for each event."""


class Reading(Protocol):
    """Reads of an event's value what was not looked at yet; each of its calls may raise `UndecodableEvent`."""

    def head(self, value: bytes) -> Mapping[str, object]:
        """Every attribute but the body."""

    def body(self, value: bytes) -> Body:
        """As `BodySource`."""

    def fields_under(self, value: bytes, name: str) -> tuple[tuple[str, ...], Sequence[str]] | None:
        """Paths and values of at least the fields under this top name, in order; None when only `body` can tell."""


@dataclass(frozen=True, kw_only=True)
class PortalEvent:
    """One call of a Bitrix24 portal, as it was queued.

    `kind` is `event`, `robot`, `automation`, `sms` or `other`; `name` the event code in upper case (for the others
    see the Avro schema). Times are aware and in UTC. `occurred_at` is the sender's word, to the second.

    What a handler gets is read from its record when it is asked for. So a broken record may raise `UndecodableEvent`
    then, which is best left to the worker: the record goes to the dead letters.
    """

    id: str
    portal: str
    member_id: str | None
    kind: str
    name: str
    occurred_at: datetime | None
    received_at: datetime
    subscription: Subscription
    # By factories: a default that stands in the class would be found before `__getattr__` is asked.
    source: str = field(default_factory=lambda: "online")
    path: str = field(default_factory=str)
    query: str = field(default_factory=str)
    traceparent: str | None = field(default_factory=lambda: None)
    sealed: Sealed | None = field(default_factory=lambda: None)
    body: BodySource = field(repr=False, compare=False)

    # Hidden from type checkers, for which an event would have every attribute then.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            known = self.__dict__
            reading = known.get("_reading")
            if reading is None or name not in _READABLE:
                raise AttributeError(f"an event has no {name}")
            value = known["_value"]
            known.update(reading.head(value), body=partial(reading.body, value))
            return known[name]

    @lazy
    def _body(self) -> Body:
        reading: Reading | None = self.__dict__.get("_reading")
        return self.body() if reading is None else reading.body(self.__dict__["_value"])

    @property
    def fields(self) -> Mapping[str, str]:
        """Bracket path (`data[FIELDS][ID]`) → value, as sent and in that order; of a repeated path the last value."""
        return self._body.fields

    @lazy
    def pairs(self) -> tuple[Pair, ...]:
        """Every pair as sent, percent-decoded to bytes, in order and with repeats, without secrets."""
        return self._body.pairs

    def _tree(self, top: str | None = None) -> dict[str, Node]:
        """The nested view of the whole body, or of what is under one name."""
        reading: Reading | None = self.__dict__.get("_reading") if top else None
        if reading and top and (some := reading.fields_under(self.__dict__["_value"], top)) is not None:
            return nest(*some, top)
        body = self._body
        if not body.as_sent:
            return nest(tuple(body.fields), tuple(body.fields.values()), top)
        paths, values = zip(*body.as_sent, strict=True)
        return nest(tuple(map(as_text, paths)), tuple(map(as_text, values)), top)

    @lazy
    def data(self) -> Any:
        """The nested view of `data`, by PHP's rules: maps have text keys, and keys 0…n-1 make a list.

        What is below which key only the event's documentation knows: a type checker takes `data["FIELDS"]["ID"]`.

        A scalar stays text; `data` that was not sent (PHP drops empty arrays) is an empty map. The calls that have no
        `event` have no `data` either: for them it is the whole body but `auth`.
        """
        if self.kind == "event":
            return self._tree("data").get("data", {})
        return {key: node for key, node in self._tree().items() if key != "auth"}

    @lazy
    def auth(self) -> Mapping[str, Node]:
        """What `auth` holds and is not secret: domain, member_id, user_id, scope, expires…"""
        found = self._tree("auth").get("auth", {})
        return found if isinstance(found, dict) else {}

    @lazy
    def folded(self) -> int:
        """How many earlier events about the same, at least, are finished with this one, by `coalesce`."""
        return 0

    def standing_for(self, folded: int) -> Self:
        """This event, with so many folded into it."""
        self.__dict__["folded"] = folded
        return self

    def secrets(self, keys: Mapping[str, str | bytes]) -> dict[str, str]:
        """Path → value of what was sealed (`auth[access_token]`, …); empty where nothing was.

        `keys` is as in the setting `seal_keys`: key id → 32 bytes, or their base64. Where the portal has a key of its
        own, that is looked up in the store of portals, and opened with them: a worker whose settings have `seal_keys`
        has given the store to its events; elsewhere say `event.with_keys_of(store)` before.

        Raises `SecretsShredded` when the portal's key is gone for good, `CannotOpenSecrets` when a key is missing.
        """
        if self.sealed is None:
            return {}
        return _open(self.sealed, self.id, self._key(self.sealed.key_id, keys))

    def with_keys_of(self, store: WrappedKeys) -> "PortalEvent":
        """The same event, which from now on finds the key of its portal there."""
        self.__dict__["_store"] = store
        return self

    def __getstate__(self) -> dict[str, object]:
        # A store stays in its process; what it knows of this event's key goes along, for a handler with `cpu`.
        state = self.__dict__.copy()
        store: WrappedKeys | None = state.pop("_store", None)
        whose = named(self.sealed.key_id) if store is not None and self.sealed else None
        if store is not None and whose is not None:
            state["_store"] = KnownKey(store.wrapped(whose), store.is_gone(whose, self.received_at))
        return state

    def _key(self, key_id: str, keys: Mapping[str, str | bytes]) -> str | bytes:
        if key_id in keys:
            return keys[key_id]
        whose = named(key_id)
        if whose is None:
            raise CannotOpenSecrets(f"event {self.id} is sealed with key {key_id!r}, which was not given")
        store: WrappedKeys | None = self.__dict__.get("_store")
        if store is None:
            raise CannotOpenSecrets(
                f"event {self.id} is sealed with a key of its portal; give the worker the setting seal_keys"
            )
        wrapped = store.wrapped(whose)
        if wrapped is None and store.is_gone(whose, self.received_at):
            raise SecretsShredded(f"the key of portal {whose.member_id} is gone, and the secrets of {self.id} with it")
        if wrapped is None:
            raise CannotOpenSecrets(f"the key of portal {whose.member_id} is not known here yet")
        try:
            return unwrap(wrapped, whose, keys)
        except CannotUnwrap as error:
            raise CannotOpenSecrets(f"event {self.id}: {error}") from error


def partly_read(reading: Reading, value: bytes, event_id: str, portal: str, kind: str, name: str) -> PortalEvent:
    """An event of which this is known already; the rest is read of its value when it is asked for."""
    event = object.__new__(PortalEvent)
    # Past the guard of a frozen instance, which takes twice the time; so does an update with all of them.
    known = event.__dict__
    known["id"], known["portal"], known["kind"], known["name"] = event_id, portal, kind, name
    known["_reading"], known["_value"] = reading, value
    return event


_READABLE = frozenset(one.name for one in fields(PortalEvent))


def _open(sealed: Sealed, event_id: str, key: str | bytes) -> dict[str, str]:
    # Imported here: most consumers never open a secret, and the library takes a while to load.
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        plain = AESGCM(raw(key)).decrypt(sealed.nonce, sealed.ciphertext, event_id.encode())
    except (InvalidTag, ValueError) as error:
        raise CannotOpenSecrets(f"key {sealed.key_id!r} does not open event {event_id}") from error
    return dict(json.loads(plain))
