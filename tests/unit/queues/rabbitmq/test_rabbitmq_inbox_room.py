"""How much one call takes out of what is here of the owned partitions."""

from itertools import chain
from typing import Any

from forebay.queues.contract import PlacedRecord
from forebay.queues.rabbitmq.address import address
from forebay.queues.rabbitmq.inbox import Inbox, _Partition

MEGABYTE = bytes(1024 * 1024)


def _unexpected(*told: object) -> Any:
    raise AssertionError(told)


def _record(partition: int, offset: int) -> tuple[int, PlacedRecord]:
    placed = PlacedRecord(
        key="a", value=MEGABYTE, timestamp_ms=0, headers=(), stream="events", partition=partition, offset=offset
    )
    return offset + 1, placed


def test_large_records_are_given_out_up_to_eight_megabytes_and_another_partition_s_first_each_time() -> None:
    inbox = Inbox(
        address("amqp://nowhere"),
        "events",
        30.0,
        gap=_unexpected,
        shorter=_unexpected,
        set_back=_unexpected,
        put=_unexpected,
    )
    for number in range(2):
        one = inbox._partitions[number] = _Partition(number, 0)
        one.records.extend(_record(number, offset) for offset in range(12))

    taken = [[(one.partition, one.offset) for one in inbox.take(1000)] for _ in range(3)]

    assert [{partition for partition, _ in some} for some in taken] == [{1}, {0}, {1, 0}]
    assert [len(some) for some in taken] == [8, 8, 8]
    assert sorted(chain.from_iterable(taken)) == [(number, offset) for number in range(2) for offset in range(12)]
