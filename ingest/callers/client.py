"""Who called, where proxies stand between us: the rightmost address of X-Forwarded-For that is not a proxy of ours.

Each proxy adds, at the end, the address of whoever called it. So from the right the list can be believed for as long as
its entries are our own proxies; what stands left of the first other one is that caller's word.
"""

from collections.abc import Iterator, Sequence

from .networks import Address, Networks, address_of

#: Nobody has more proxies one behind the other; a longer list is not read on.
_HOPS = 32


def client_of(peer: str, forwarded: Sequence[bytes], proxies: Networks) -> Address | None:
    """The caller's address, given the connection's other end and the header's lines; None where it can't be known."""
    client = address_of(peer)
    for hops, entry in enumerate(_from_the_right(forwarded)):
        if client not in proxies:
            return client
        if hops == _HOPS:
            return None
        client = address_of(entry.decode("latin-1"))
    return client


def _from_the_right(lines: Sequence[bytes]) -> Iterator[bytes]:
    """The entries of all lines; an empty one too, by which a proxy says that it does not know."""
    for line in reversed(lines):
        rest, comma = line, b","
        while comma:
            rest, comma, entry = rest.rpartition(b",")
            yield entry
