"""Is this one of our portals? And under which key do its events stand?"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from forebay.schemas.portal import BadPortal, member_key, normal_form
from forebay.schemas.quick_value import quick_value

from .address import NOTHING, Address, without_secrets
from .errors import NotOurPortal
from .shape import Auth

#: The name in `tokens` that stands for every portal.
ANY_PORTAL = "*"

#: A domain of the most that DNS allows, with a scheme, a port and a path. Names are remembered by `normal_form`: one of
#: a megabyte, sent again and again with another ending, would fill the memory.
_DOMAIN_CHARS = 300

#: So many senders are remembered, each with no more characters than this: about 10 MB.
_REMEMBERED = 10_000
_USUAL_CHARS = 512

#: Compared against for a portal that nobody listed, so that the time tells nothing.
_NOBODY = (b"0" * 32,)


@quick_value
class Sender:
    """The portal that a call comes from, and the call's address without its secret."""

    #: None when neither name of the portal can be a key.
    portal: str | None
    member_id: str | None
    verified: bool
    address: Address
    #: Whether the proof holds for the member_id, too; another name of the portal may be all that is proved.
    member_is_proved: bool = False
    #: The keyed hash of a token that is proved by the registry, or waits for that, as text; empty for all others.
    pin: str = ""

    @property
    def proved_member(self) -> str | None:
        """The member_id, if it is proved."""
        return self.member_id if self.member_is_proved else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """What an endpoint accepts as proof; one of them is enough. `anyone` needs none."""

    anyone: bool
    #: Portal or member_id in lower case, or `*` → tokens.
    tokens: Mapping[str, tuple[bytes, ...]]
    #: Any of them, in the URL: while one takes the place of another, both are good.
    secrets: tuple[bytes, ...]


class Gate:
    """Lets calls of our portals in. One for each endpoint; it remembers whom it has let in, and no one else."""

    def __init__(self, proofs: Proofs, *, key_is_member_id: bool) -> None:
        self._proofs = proofs
        self._key_is_member_id = key_is_member_id
        self._names_portals = any(name != ANY_PORTAL for name in proofs.tokens)
        #: What was sent → who it is. What fails is looked at each time, and so is what has more in its address.
        self._remembered: dict[Auth, Sender] = {}

    def admit(self, auth: Auth, address: Address) -> Sender:
        """The sender, or `NotOurPortal`. Only the top-level auth counts: bots send others inside their data."""
        if not self._proofs.tokens:
            auth = Auth(auth.domain, auth.member_id)
        if address is not NOTHING:
            return self._sender(auth, address)
        sender = self._remembered.get(auth)
        if sender is None:
            sender = self._sender(auth, address)
            self._remember(auth, sender)
        return sender

    def _remember(self, auth: Auth, sender: Sender) -> None:
        if sum(map(len, auth)) > _USUAL_CHARS:
            return
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[auth] = sender

    def _sender(self, auth: Auth, address: Address) -> Sender:
        domain, member_id = domain_of(auth.domain), _member_id(auth.member_id)
        names = (member_id, domain) if self._key_is_member_id else (domain, member_id)
        portal = names[0] or names[1]
        proved = self._proved_by_token(names, auth.application_token)
        by_secret = self._knows_secret(address)
        if not (proved or by_secret or self._proofs.anyone):
            raise NotOurPortal("nothing in this call proves that it comes from one of our portals", portal)
        return Sender(
            portal=portal,
            member_id=member_id,
            # A token that is listed for the portal's other name doesn't prove the key: that is the sender's word.
            verified=by_secret or (proved is not None and proved in (portal, ANY_PORTAL)),
            address=without_secrets(address, self._proofs.secrets),
            member_is_proved=by_secret or (proved is not None and proved in (member_id, ANY_PORTAL)),
        )

    def _proved_by_token(self, names: Iterable[str | None], given: str) -> str | None:
        """The name that the token is listed for: one of these, or `*`."""
        tokens = self._proofs.tokens
        if not tokens:
            return None
        sent = given.encode("utf-8", "replace")
        if not self._names_portals:
            return ANY_PORTAL if _is_one_of(tokens[ANY_PORTAL], sent) else None
        # The name that becomes the key is asked first: a token listed for it may not be got around by another name.
        listed = next((name for name in names if name and name.lower() in tokens), None)
        is_theirs = _is_one_of(tokens[listed.lower()] if listed else _NOBODY, sent)
        if _is_one_of(tokens.get(ANY_PORTAL, ()), sent):
            return ANY_PORTAL
        return listed if is_theirs else None

    def _knows_secret(self, address: Address) -> bool:
        secrets = self._proofs.secrets
        if not secrets:
            return False
        in_path = _is_one_of(secrets, address.first_segment.encode("utf-8", "replace"))
        return _is_one_of(secrets, address.secret_parameter.encode("utf-8", "replace")) or in_path


def _is_one_of(candidates: Iterable[bytes], sent: bytes) -> bool:
    found = False
    for candidate in candidates:
        # No early exit: the time must not tell which one it was.
        found |= hmac.compare_digest(candidate, sent)
    return found


def domain_of(sent: str) -> str | None:
    """The domain that a call names, in its normal form; None for what can't be a portal's."""
    if len(sent) > _DOMAIN_CHARS:
        return None
    try:
        return normal_form(sent)
    except BadPortal:
        return None


def _member_id(sent: str) -> str | None:
    try:
        return member_key(sent)
    except BadPortal:
        return None
