"""What `forebay doctor` finds in a RabbitMQ, by AMQP alone: its management plugin need not be there."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

from forebay.queues.errors import QueueError
from forebay.queues.findings import Finding, Needs

from .address import Address
from .catalog import Catalog
from .faults import NotThere
from .logs import DEAD_LETTERS, intake, partition_log
from .looking import end_of
from .records import MAX_RECORD_BYTES
from .writer import Writer

#: Streams are there since 3.9, and were made well again after crashes since 3.10.
_OLDEST = (3, 10)

#: Beside those of partitions: of the catalog, a group, and what is asked once.
_SPARE_CHANNELS = 8

_RIGHTS = "rabbitmqctl set_permissions -p VHOST USER '^forebay:' '^(forebay:|amq\\.default$)' '^forebay:'"


async def findings(address: Address, needs: Needs) -> AsyncIterator[Finding]:
    """One thing after the other. Raises `QueueError`."""
    # While there is an alarm, who has written something is not heard any more; who only looks is.
    writing, writer = Writer(address, "doctor"), Writer(address, "doctor")
    try:
        connection = await writer.connection()
        yield _version(str(connection.server.get("version", "")))
        yield _channels(connection.most_channels, needs)
        yield await _asked("queue alarms", "it takes messages: no alarm of its memory or disk", writing.check)
        catalog = Catalog(writer)
        if needs.events not in needs.streams or await catalog.missing([needs.events], needs.partitions):
            return
        queue = partition_log(needs.events, secrets.randbelow(needs.partitions))
        yield await _asked("queue streams", "each stream has a copy on this node", lambda: _read(writer, queue))
        yield await _asked(
            "queue intakes", "each has a leader, and takes messages", lambda: _count(writer, intake(queue))
        )
        yield await _dead_letters(writer)
        yield _size(needs)
    finally:
        for one in (writing, writer):
            await one.close(hurried=True)


async def _read(writer: Writer, queue: str) -> None:
    await end_of(await writer.connection(), queue)


async def _count(writer: Writer, queue: str) -> int:
    channel = await (await writer.connection()).channel()
    count = await channel.find(queue)
    channel.close()
    return count


async def _dead_letters(writer: Writer) -> Finding:
    try:
        count = await _count(writer, DEAD_LETTERS)
    except NotThere as error:
        detail = f"what an intake rejects stays in it: {error}"
        return Finding(check="queue dead letters", state="fail", detail=detail, remedy="forebay topics ensure")
    if not count:
        return Finding(check="queue dead letters", state="ok", detail=f"nothing in {DEAD_LETTERS}")
    detail = f"{count} in {DEAD_LETTERS}: they can't go into their stream, or a policy took them out of an intake"
    remedy = "docs/rabbitmq.md, Dead letters: look at them, then move them back, or delete them"
    return Finding(check="queue dead letters", state="warn", detail=detail, remedy=remedy)


async def _asked(check: str, fine: str, ask: Callable[[], Awaitable[object]]) -> Finding:
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


def _channels(most: int, needs: Needs) -> Finding:
    # One of each partition, and one more while it is looked where its stream ends.
    wanted = 2 * needs.partitions + _SPARE_CHANNELS
    if most < wanted:
        detail = f"a connection has {most} at most, and may need {wanted}: some partitions would take nothing"
        return Finding(check="queue channels", state="fail", detail=detail, remedy=f"channel_max = {wanted} or more")
    return Finding(check="queue channels", state="ok", detail=f"a connection has {most} at most")


def _size(needs: Needs) -> Finding:
    if needs.record_bytes > MAX_RECORD_BYTES:
        detail = f"records of {needs.record_bytes} bytes may come; the RabbitMQ queue takes {MAX_RECORD_BYTES}"
        return Finding(check="queue size", state="fail", detail=detail, remedy="a smaller max_body_bytes")
    detail = f"records of {needs.record_bytes} bytes may come, if the server's max_message_size lets them"
    return Finding(check="queue size", state="ok", detail=detail)
