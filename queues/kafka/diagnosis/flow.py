"""The whole diagnosis, in the order in which one thing needs the other."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.findings import Finding, Needs
from forebay.queues.kafka.admin import Admin
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.faults import is_empty
from forebay.queues.kafka.properties import uses_sasl, uses_tls
from forebay.queues.kafka.remedies import is_definite

from . import files
from .needed import Needed
from .ports import Address, Trouble, addresses, bad_certificate, mechanisms, speaks_tls, told, unreachable

#: So long we wait for a login, looking for the reason in between: a client that is refused only tries again.
_LOGIN_S = (0.5, 1.0, 2.5)

_SILENCE = Trouble(
    detail=f"takes the connection, and does not let us in within {sum(_LOGIN_S):g} s",
    remedy="look after the broker, and check that this port is a Kafka's (queue_url)",
)


class Diagnosis:
    """Looks at the setting `kafka`, the addresses, the login, the addresses that brokers advertise, what is needed."""

    def __init__(self, clients: Clients, admin: Admin) -> None:
        self._clients, self._properties, self._admin = clients, clients.properties, admin
        self._servers = str(self._properties["bootstrap.servers"])

    async def findings(self, needs: Needs) -> AsyncIterator[Finding]:
        """Everything that was found. What can't be looked at, since something before it fails, is left out."""
        found = list(files.examined(self._properties))
        for finding in found:
            yield finding
        if any(finding.state == "fail" for finding in found):
            return
        try:
            self._admin.begin()
        except QueueError as error:
            yield Finding(check="kafka", state="fail", detail=str(error))
            return
        reached: list[Address] = []
        async for finding in self._addresses(reached):
            yield finding
        if not reached:
            return
        nodes = await self._login(reached[0])
        if isinstance(nodes, Trouble):
            yield Finding(check=f"broker {reached[0]}", state="fail", detail=nodes.detail, remedy=nodes.remedy)
            return
        async for finding in self._advertised(nodes, reached):
            yield finding
            if finding.state == "fail":
                return
        async for finding in Needed(self._clients, self._admin, needs, len(nodes)).findings():
            yield finding

    async def _addresses(self, reached: list[Address]) -> AsyncIterator[Finding]:
        """The troubles of the addresses in `queue_url`; one that works is enough to begin with."""
        named = addresses(self._servers)
        troubles = await asyncio.gather(*map(unreachable, named))
        reached += [address for address, trouble in zip(named, troubles, strict=True) if trouble is None]
        for address, trouble in zip(named, troubles, strict=True):
            if trouble is not None:
                yield Finding(
                    check=f"broker {address}",
                    state="warn" if reached else "fail",
                    detail=trouble.detail,
                    remedy=f"{trouble.remedy} (queue_url)",
                )

    async def _login(self, address: Address) -> dict[int, str] | Trouble:
        """Where the brokers are, by number; or why this one, which can be reached, does not let us in."""
        for number, seconds in enumerate(_LOGIN_S):
            with suppress(QueueUnavailable):
                return await self._admin.nodes(seconds)
            complaint = self._admin.complaint
            if complaint is not None and is_definite(complaint):
                return told(complaint)
            if number == 0 and (trouble := await self._mismatch(address)) is not None:
                return trouble
        return _SILENCE if complaint is None or is_empty(complaint) else told(complaint)

    async def _mismatch(self, address: Address) -> Trouble | None:
        """What the port shows us, and librdkafka does not tell."""
        tls = uses_tls(self._properties)
        trouble = await bad_certificate(address, self._properties) if tls else None
        trouble = trouble or await _other_protocol(address, tls=tls)
        if trouble is None and not uses_sasl(self._properties):
            trouble = _wants_login(await mechanisms(address, tls=tls), tls=tls)
        return trouble

    async def _advertised(self, nodes: Mapping[int, str], reached: list[Address]) -> AsyncIterator[Finding]:
        """The troubles of the addresses that the brokers give to their clients: all work is done there."""
        given = {number: addresses(text)[0] for number, text in nodes.items()}
        others = {number: address for number, address in given.items() if address not in reached}
        troubles = await asyncio.gather(*map(unreachable, others.values()))
        for (number, address), trouble in zip(others.items(), troubles, strict=True):
            if trouble is not None:
                yield Finding(
                    check=f"broker {number}",
                    state="fail",
                    detail=f"tells its clients to come to {address}; from here: {trouble.detail}",
                    remedy=f"{trouble.remedy}; where it is well, set advertised.listeners of the brokers to addresses "
                    "that are reached from here",
                )
        yield Finding(check="brokers", state="ok", detail=", ".join(f"{one} at {at}" for one, at in given.items()))


async def _other_protocol(address: Address, *, tls: bool) -> Trouble | None:
    """Whether what is there speaks no TLS where we do, or the other way round."""
    # One that speaks it answers nobody whose certificate it doesn't know; one that doesn't, everybody.
    if not (tls or await speaks_tls(address)):
        return None
    offered = await mechanisms(address, tls=not tls)
    if tls and offered is None:
        return None
    wanted = ("SASL_" if offered else "") + ("PLAINTEXT" if tls else "SSL")
    return Trouble(
        detail="this port speaks no TLS" if tls else "this port speaks TLS only",
        remedy=f"set security.protocol in the setting kafka to {wanted}, or use another port",
    )


def _wants_login(offered: list[str] | None, *, tls: bool) -> Trouble | None:
    if not offered:
        return None
    wanted = "SASL_SSL" if tls else "SASL_PLAINTEXT"
    return Trouble(
        detail=f"this port wants a login ({', '.join(offered)})",
        remedy=f"set security.protocol in the setting kafka to {wanted}, and sasl.mechanism to one of these",
    )
