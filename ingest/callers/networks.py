"""Addresses and networks of both versions of IP."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: The longest text of an address with its port, brackets and zone; what is longer is none.
_TEXT_CHARS = 80

#: A balancer or Bitrix24 calls from a few; of others so many are remembered.
_REMEMBERED = 1024

_V4_IN_V6 = ip_network("::ffff:0:0/96")
_V4_IN_V6_BITS = 96


def address_of(text: str) -> Address | None:
    """The address, perhaps with a port behind it; None where it is none. IPv4 written as IPv6 is IPv4."""
    return _address(text) if len(text) <= _TEXT_CHARS else None


@lru_cache(_REMEMBERED)
def _address(text: str) -> Address | None:
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def is_loopback(host: str | None) -> bool:
    """Whether what is sent to this host stays on this machine."""
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def network_of(text: str, *, strict: bool = True) -> Network:
    """The network of a CIDR, or of one address. Raises `ValueError`; where strict, for 203.0.113.7/24 too."""
    try:
        found = ip_network(text, strict)
    except ValueError:
        raise ValueError(f"{text[:_TEXT_CHARS]!r} is no network; write it as 203.0.113.0/24 or 2001:db8::/32") from None
    if isinstance(found, IPv6Network) and found.subnet_of(_V4_IN_V6):  # type: ignore[arg-type]  # both are IPv6
        mapped = found.network_address.ipv4_mapped
        return IPv4Network((int(mapped or 0), found.prefixlen - _V4_IN_V6_BITS))
    return found


class Networks:
    """Some networks. Asking takes a step for each of their different sizes, not for each network."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._all = frozenset(networks)
        self._starts: dict[tuple[int, int], set[int]] = {}
        for one in self._all:
            bits = one.max_prefixlen - one.prefixlen
            self._starts.setdefault((one.version, bits), set()).add(int(one.network_address) >> bits)

    def __contains__(self, address: Address | None) -> bool:
        """Whether the address is in one of them; one that is not known is in none."""
        if address is None:
            return False
        number, version = int(address), address.version
        return any(at == version and number >> bits in starts for (at, bits), starts in self._starts.items())

    def __len__(self) -> int:
        return len(self._all)

    def __str__(self) -> str:
        return "\n".join(sorted(map(str, self._all)))
