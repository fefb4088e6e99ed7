"""What stands in a call's URL behind the endpoint: a secret, perhaps, and what the author of a rule wrote there."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_plus

from forebay.schemas.secrecy import Secrecy, secrecy_of

#: The name of the query parameter in which an endpoint's secret may stand.
SECRET_PARAMETER = "secret"  # noqa: S105 - a name, not a secret

#: What a query may hold as it is; other bytes are percent-encoded, so that the event has them as text.
_AS_SENT = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The path behind the endpoint, decoded, and the query as sent."""

    path: str
    query: str

    @property
    def first_segment(self) -> str:
        """Where a secret in the path stands."""
        return self.path.partition("/")[0]

    @property
    def secret_parameter(self) -> str:
        """The value of the query's `secret`; of several the last."""
        if SECRET_PARAMETER not in self.query:
            return ""
        given = [pair.partition("=")[2] for pair in self.query.split("&") if _name(pair) == SECRET_PARAMETER]
        return unquote_plus(given[-1]) if given else ""


#: That of nearly every call.
NOTHING = Address(path="", query="")


def address_of(rest: str, query: bytes) -> Address:
    """The address as it was called; it may still hold secrets."""
    if not rest and not query:
        return NOTHING
    return Address(path=rest.encode("utf-8", "replace").decode(), query=_text(query))


def without_secrets(address: Address, secrets: Iterable[bytes]) -> Address:
    """The address without query parameters whose name is a secret's, and without all that has one of the endpoint's."""
    if address is NOTHING:
        return address
    texts = [secret.decode("ascii") for secret in secrets]
    pairs = address.query.split("&")
    kept = [pair for pair in pairs if not (_is_secret(_name(pair)) or _has(texts, unquote_plus(pair)))]
    path = [segment for segment in address.path.split("/") if not _has(texts, segment)]
    return Address(path="/".join(path), query="&".join(kept))


def _name(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])


def _has(secrets: Iterable[str], text: str) -> bool:
    return any(secret in text for secret in secrets)


def _is_secret(name: str) -> bool:
    return name.strip().lower() == SECRET_PARAMETER or secrecy_of(name) is not Secrecy.OPEN


def _text(query: bytes) -> str:
    return query.decode("ascii") if query.isascii() else quote_from_bytes(query, safe=_AS_SENT)
