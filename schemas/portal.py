"""A portal's name in its normal form, and the partition that its records stand in."""

import re
from functools import lru_cache

import idna

from .errors import ForebayError

#: Portals whose normal form and partition are remembered; a call then costs a dictionary lookup. Each takes about 20 MB
#: when full, and the first 120 MB where strangers fill it with the longest names that there can be.
_REMEMBERED = 100_000

#: What a box may add to a cloud portal's name: labels with underscores, and a port. RFC 1035: at most 253 characters.
_DOMAIN = re.compile(
    r"(?=.{1,253}(?::|$))[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*(?::[1-9][0-9]{0,4})?"
)
_MEMBER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://")
_DEFAULT_PORT = re.compile(r":(80|443)$")


class BadPortal(ForebayError):
    """This is not the name of a portal."""


@lru_cache(maxsize=_REMEMBERED)
def normal_form(domain: str) -> str:
    """The portal's domain in lower case, without scheme, path, trailing dot or usual port, and in ASCII (IDNA 2008).

    A port other than 80 and 443 stays: two boxes may share a host. Raises `BadPortal` for anything that can't be a
    host name, since a domain is the sender's word until the portal is verified.
    """
    bare = _SCHEME.sub("", domain.strip()).partition("/")[0]
    host, colon, port = bare.partition(":")
    host = _to_ascii(host.rstrip(".").lower(), domain)
    found = _DEFAULT_PORT.sub("", host + colon + port)
    if not _DOMAIN.fullmatch(found):
        raise BadPortal(f"{_shown(domain)} is not a portal's domain")
    return found


def member_key(member_id: str) -> str:
    """The member_id as a key, or `BadPortal` when it is not one (letters, digits, `-` and `_`, at most 64)."""
    if not _MEMBER_ID.fullmatch(member_id):
        raise BadPortal(f"{_shown(member_id)} is not a member_id")
    return member_id


def _to_ascii(host: str, domain: str) -> str:
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise BadPortal(f"{_shown(domain)} is not a portal's domain: {error}") from error


def _shown(text: str) -> str:
    """Enough of a hostile name to find it by, and no more."""
    return ascii(text[:60])


@lru_cache(maxsize=_REMEMBERED)
def partition_of(portal: str, partitions: int) -> int:
    """The partition, 0 … partitions-1, of a portal's records: the same that the Java client gives to its key."""
    return (murmur2(portal.encode()) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 of the bytes as org.apache.kafka.common.utils.Utils computes it, as an unsigned number."""
    mask = 0xFFFFFFFF
    mix = 0x5BD1E995
    length = len(data)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * mix & mask
        h = (h * mix & mask) ^ ((k ^ (k >> 24)) * mix & mask)
    if length > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * mix & mask
    h = (h ^ (h >> 13)) * mix & mask
    return h ^ (h >> 15)
