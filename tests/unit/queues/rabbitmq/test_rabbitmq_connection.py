"""A connection to a node of which nothing can be read."""

import asyncio
import socket
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker

from forebay.queues.errors import QueueUnavailable
from forebay.queues.rabbitmq.address import address
from forebay.queues.rabbitmq.connection import Connection
from forebay.queues.rabbitmq.faults import NoCopy
from tests.clock import Clock

#: As a node says it.
NO_COPY = (
    "PRECONDITION_FAILED - queue 'queue 'forebay:events:0' in vhost '/'' does not have a replica on the local node"
)


class Node:
    """As the library's connection and its channels, to a node with copies of these streams."""

    is_open, server_properties = True, dict[str, Any]()

    def __init__(self, *copies: str) -> None:
        self.params, self._copies = self, copies
        self.channel_max = 10
        self.ended: list[BaseException] = []

    def add_on_connection_blocked_callback(self, told: Any) -> None: ...

    def add_on_connection_unblocked_callback(self, told: Any) -> None: ...

    def add_on_close_callback(self, told: Any) -> None:
        self._closed = told

    def channel(self, *, on_open_callback: Any) -> "Node":
        on_open_callback(self)
        return self

    def basic_consume(self, queue: str, told: Any, *, arguments: Any, callback: Any) -> None:
        if queue in self._copies:
            callback(None)
        else:
            self._closed(self, ChannelClosedByBroker(406, NO_COPY))

    def _terminate_stream(self, why: BaseException) -> None:
        self.ended.append(why)


async def _look(one: Connection, stream: str) -> None:
    await (await one.channel()).consume(stream, "first", lambda *_: None)


def _opened(node: Node, clock: Clock) -> Connection:
    one = Connection(address("amqp://mq"), "test", clock=clock)
    one._on_open(node)
    return one


async def test_a_node_without_a_copy_of_any_stream_is_left_for_another() -> None:
    node, clock = Node(), Clock(1000.0)
    one = _opened(node, clock)

    for passed_s in (1.0, 9.0, 0.5):
        assert node.ended == []
        clock.now += passed_s
        with pytest.raises(NoCopy):
            await _look(one, "forebay:events:0")

    assert [type(why) for why in node.ended] == [ConnectionAbortedError]


async def test_one_stream_without_a_copy_costs_the_others_no_connection() -> None:
    node, clock = Node("forebay:events:1"), Clock(1000.0)
    one = _opened(node, clock)

    await _look(one, "forebay:events:1")
    clock.now += 60.0
    with pytest.raises(NoCopy):
        await _look(one, "forebay:events:0")

    assert node.ended == []


async def test_a_node_that_never_answered_is_given_up_without_another_word() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        one = Connection(address(f"amqp://127.0.0.1:{mute.getsockname()[1]}"), "test")

        with pytest.raises(QueueUnavailable, match="did not answer"):
            await one.open(patience_s=0.1)

    # What is told of it comes in the loop's next turn.
    await asyncio.sleep(0)
    assert one._opened.done()
    assert told == []
