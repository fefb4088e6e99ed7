"""What `forebay doctor` finds in a RabbitMQ, by AMQP alone: its management plugin need not be there."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

from forebay.queues.errors import QueueError
from forebay.queues.findings import Finding, Needs

from .address import Address
from .catalog import Catalog
from .logs import partition_log
from .looking import end_of
from .records import MAX_RECORD_BYTES
from .writer import Writer

#: Streams are there since 3.9, and were made well again after crashes since 3.10.
_OLDEST = (3, 10)

_RIGHTS = "rabbitmqctl set_permissions -p VHOST USER '^forebay:' '^(forebay:|amq\\.default$)' '^forebay:'"


async def findings(address: Address, needs: Needs) -> AsyncIterator[Finding]:
    """One thing after the other. Raises `QueueError`."""
    writer = Writer(address, "doctor")
    try:
        yield _version(str((await writer.connection()).server.get("version", "")))
        yield _durability(str((await writer.connection()).server.get("cluster_name", "")))
        yield await _asked("queue alarms", "it takes messages: no alarm of its memory or disk", writer.check)
        catalog = Catalog(writer)
        if needs.events not in needs.streams or await catalog.missing([needs.events], needs.partitions):
            return
        queue = partition_log(needs.events, secrets.randbelow(needs.partitions))
        yield await _asked("queue streams", "each stream has a copy on this node", lambda: _read(writer, queue))
        yield _size(needs)
    finally:
        await writer.close(hurried=True)


async def _read(writer: Writer, queue: str) -> None:
    await end_of(await writer.connection(), queue)


async def _asked(check: str, fine: str, ask: Callable[[], Awaitable[None]]) -> Finding:
    try:
        await ask()
    except QueueError as error:
        return Finding(check=check, state="fail", detail=str(error), remedy=_remedy(str(error)))
    return Finding(check=check, state="ok", detail=fine)


def _remedy(error: str) -> str:
    if "alarm" in error:
        return "rabbitmq-diagnostics alarms; a larger disk, or a policy max-age as in docs/rabbitmq.md"
    return _RIGHTS if "ACCESS_REFUSED" in error or "access to" in error else "rabbitmq-diagnostics check_running"


def _version(words: str) -> Finding:
    oldest = ".".join(map(str, _OLDEST))
    try:
        is_supported = tuple(int(part) for part in words.split(".")[:2]) >= _OLDEST
    except ValueError:
        is_supported = False
    if is_supported:
        return Finding(check="queue version", state="ok", detail=f"RabbitMQ {words}")
    detail = f"RabbitMQ {words or 'of no version that it tells'}; Forebay is made for {oldest} and newer"
    return Finding(check="queue version", state="warn", detail=detail, remedy=f"upgrade to {oldest} or newer")


def _durability(cluster: str) -> Finding:
    detail = (
        f"cluster {cluster}: an event is kept when most copies of its stream have it, in memory of their systems, and "
        "not on disk yet; a single node may lose the last seconds in a power cut, a crash of the program loses nothing"
    )
    remedy = "three nodes with power of their own: rabbitmq-streams stream_status --vhost VHOST QUEUE shows the copies"
    return Finding(check="queue durability", state="warn", detail=detail, remedy=remedy)


def _size(needs: Needs) -> Finding:
    if needs.record_bytes > MAX_RECORD_BYTES:
        detail = f"records of {needs.record_bytes} bytes may come; the RabbitMQ queue takes {MAX_RECORD_BYTES}"
        return Finding(check="queue size", state="fail", detail=detail, remedy="a smaller max_body_bytes")
    detail = f"records of {needs.record_bytes} bytes may come, if the server's max_message_size lets them"
    return Finding(check="queue size", state="ok", detail=detail)
