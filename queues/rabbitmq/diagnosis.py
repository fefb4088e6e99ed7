"""What `forebay doctor` finds in a RabbitMQ."""

from collections.abc import AsyncIterator

from forebay.queues.findings import Finding, Needs

from .address import Address


async def findings(address: Address, needs: Needs) -> AsyncIterator[Finding]:
    """What is behind the streams."""
    return
    yield
