"""The way to a cluster: of the nodes that the address names one is as good as another, while it lets us in."""

import asyncio
import socket
from collections.abc import Callable
from secrets import SystemRandom

from forebay.queues.errors import QueueUnavailable

from .address import Address
from .connection import HEARTBEAT_S, OPEN_S, Connection, Lost

#: Seconds for a name to be looked up, and for a way behind which there is another. A node that is off, or hangs, says
#: nothing.
_NAME_S, _NEXT_S = 2.0, 2.0

#: So that a cluster's nodes have as much to do, one as the other.
_random = SystemRandom()


async def reach(
    address: Address,
    part: str,
    heartbeat_s: float = HEARTBEAT_S,
    *,
    lost: Lost,
    blocked: Callable[[], None] = lambda: None,
) -> Connection:
    """A connection to one of the nodes, whichever lets us in. Raises `QueueUnavailable`, with what each has said."""
    nodes = _random.sample(address.each(), len(address.nodes))
    ways = [(node, ip) for node, ips in zip(nodes, await asyncio.gather(*map(_ips, nodes)), strict=True) for ip in ips]
    failed: dict[str, QueueUnavailable] = {}
    for left, (node, ip) in zip(reversed(range(len(ways))), ways, strict=True):
        connection = Connection(node, part, heartbeat_s, ip)
        connection.on_lost, connection.on_blocked = lost, blocked
        try:
            return await connection.open(_NEXT_S if left else OPEN_S)
        except QueueUnavailable as error:
            failed[str(error)] = error
    *_, last = failed.values()
    if len(failed) == 1:
        raise last
    # In the same order each time: what is told again and again is told once.
    raise QueueUnavailable("; ".join(sorted(failed))) from last


async def _ips(node: Address) -> list[str]:
    """Its IP addresses, in the system's order. The library would try the next one too late for our patience."""
    [(host, port)] = node.nodes
    try:
        async with asyncio.timeout(_NAME_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        # The library finds out why.
        return [host]
    return list(dict.fromkeys(str(one[4][0]) for one in found))
