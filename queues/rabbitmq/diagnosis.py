"""What `forebay doctor` finds in a RabbitMQ, by AMQP alone: its management plugin need not be there."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from typing import NamedTuple

from forebay.queues.contract import Queue
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.findings import Finding, Needs
from forebay.queues.looks import is_at_least
from forebay.queues.presence import streams_found

from .address import Address
from .catalog import Catalog
from .connection import Connection
from .faults import NotThere
from .logs import DEAD_LETTERS, intake, partition_log
from .looking import end_of
from .records import MAX_RECORD_BYTES
from .writer import Writer

#: Streams are there since 3.9, and were made well again after crashes since 3.10.
_OLDEST = (3, 10)

#: Beside those of partitions: of the catalog, a group, and what is asked once.
_SPARE_CHANNELS = 8

#: Seconds for one of several nodes to let us in, and for what there is to be told: `forebay doctor` waits 15 in all.
_NODE_S, _ANSWER_S = 3.0, 8.0

#: What stands around a record in its stream, and some more.
_AROUND_BYTES = 4096

_RIGHTS = "rabbitmqctl set_permissions -p VHOST USER '^forebay:' '^(forebay:|amq\\.default$)' '^forebay:'"


async def findings(queue: Queue, address: Address, needs: Needs) -> AsyncIterator[Finding]:
    """One thing after the other. Raises `QueueError`."""
    # While there is an alarm, who has written something is not heard any more; who only looks is.
    writing, writer = Writer(address, "doctor"), Writer(address, "doctor")
    try:
        connection = await writer.connection()
        yield await _streams(queue, address, needs)
        yield _version(str(connection.server.get("version", "")))
        yield _channels(connection.most_channels, needs)
        yield await _asked("queue alarms", "it takes messages: no alarm of its memory or disk", writing.check)
        catalog = Catalog(writer)
        if needs.events not in needs.streams or await catalog.missing([needs.events], needs.partitions):
            return
        log = partition_log(needs.events, secrets.randbelow(needs.partitions))
        async for finding in _nodes(address, log):
            yield finding
        yield await _asked(
            "queue intakes", "each has a leader, and takes messages", lambda: _count(writer, intake(log))
        )
        yield await _dead_letters(writer)
        yield await _size(writing, needs)
    finally:
        for one in (writing, writer):
            await one.close(hurried=True)


async def _streams(queue: Queue, address: Address, needs: Needs) -> Finding:
    try:
        async with asyncio.timeout(_ANSWER_S):
            return await streams_found(queue, needs)
    except TimeoutError as error:
        raise QueueUnavailable(
            f"{address.name} lets us in, and answers nothing: most nodes of its cluster are away, or out of its reach; "
            "rabbitmqctl cluster_status"
        ) from error


class _Node(NamedTuple):
    """What there is to be told of a node that is named."""

    #: Why it doesn't let us in, and why the stream can't be read there; nothing of what is well.
    away: str = ""
    lacking: str = ""
    cluster: str = ""


async def _nodes(address: Address, log: str) -> AsyncIterator[Finding]:
    """Each node that is named: whether it lets us in, is of the same cluster, and has a copy of what is read."""
    nodes = await asyncio.gather(*(_node(one, log) for one in address.each()))
    away, lacking = [one.away for one in nodes if one.away], [one.lacking for one in nodes if one.lacking]
    clusters = sorted({one.cluster for one in nodes if not one.away})
    if len(clusters) > 1:
        detail = f"they are of several clusters, {', '.join(clusters)}: what is written to one is in no other"
        yield Finding(check="queue nodes", state="fail", detail=detail, remedy="name nodes of one cluster in queue_url")
    elif away:
        remedy = "start it, or take it out of queue_url: meanwhile the others do its work"
        yield Finding(check="queue nodes", state="warn", detail="; ".join(away), remedy=remedy)
    elif len(nodes) > 1:
        yield Finding(
            check="queue nodes", state="ok", detail=f"{len(nodes)} are named, let us in, and are of one cluster"
        )
    if lacking:
        detail = "; ".join(lacking)
        yield Finding(check="queue streams", state="fail", detail=detail, remedy=_remedy(detail))
    else:
        yield Finding(check="queue streams", state="ok", detail="each stream has a copy where it is read")


async def _node(address: Address, log: str) -> _Node:
    connection = Connection(address, "doctor")
    try:
        await connection.open(_NODE_S)
    except QueueUnavailable as error:
        return _Node(away=str(error))
    cluster = str(connection.server.get("cluster_name", ""))
    try:
        await end_of(connection, log)
    except QueueError as error:
        return _Node(lacking=str(error), cluster=cluster)
    finally:
        await connection.close()
    return _Node(cluster=cluster)


async def _count(writer: Writer, queue: str) -> int:
    with closing(await (await writer.connection()).channel()) as channel:
        return await channel.find(queue)


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
        is_supported = is_at_least(words, _OLDEST)
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


async def _size(writing: Writer, needs: Needs) -> Finding:
    check, may, wanted = (
        "queue size",
        f"records of {needs.record_bytes} bytes may come",
        needs.record_bytes + _AROUND_BYTES,
    )
    if needs.record_bytes > MAX_RECORD_BYTES:
        detail = f"{may}; the RabbitMQ queue takes {MAX_RECORD_BYTES}"
        return Finding(check=check, state="fail", detail=detail, remedy="a smaller max_body_bytes")
    try:
        await writing.check(wanted)
    except QueueUnavailable as error:
        detail = f"{may}; whether it takes them can't be seen: {error}"
        return Finding(check=check, state="warn", detail=detail, remedy=_remedy(str(error)))
    except QueueError as error:
        detail, remedy = (
            f"{may}, and are refused: {error}",
            f"max_message_size = {wanted} or more, or a smaller max_body_bytes",
        )
        return Finding(check=check, state="fail", detail=detail, remedy=remedy)
    return Finding(check=check, state="ok", detail=f"{may}, and it takes them")
