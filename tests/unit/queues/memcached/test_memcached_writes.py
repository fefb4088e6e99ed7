"""Writing to a Memcached that takes it slowly, not at all, or without saying so."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pymemcache.exceptions import MemcacheServerError

from forebay.queues.batches.sent import Outcome, Sent
from forebay.queues.contract import Position, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memcached.producer import _MemcachedWriter

LINE_BYTES_A_S = 1024 * 1024
MEGABYTE = 1024 * 1024


class SlowLine:
    """A server that holds what it was sent, its clock, and a thread that is connected to it."""

    name = "slow"
    record_bytes = MEGABYTE

    def __init__(self) -> None:
        self.now = 0.0
        self.end = 0
        self.items: dict[str, bytes] = {}
        self.room = 100
        self.loses_answer = False

    @contextmanager
    def connected(self) -> Iterator["SlowLine"]:
        try:
            yield self
        except (MemcacheServerError, OSError) as error:
            raise QueueUnavailable(str(error)) from error

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        return dict.fromkeys(keys, b'{"id": "1", "name": "events", "partitions": 1}')

    def count(self, key: str, more: int) -> int:
        self.end += more
        return self.end

    def put(self, items: Mapping[str, bytes]) -> None:
        if len(self.items) + len(items) > self.room:
            raise MemcacheServerError("out of memory storing object")
        self.items.update(items)
        if self.loses_answer:
            self.room = 0
            raise TimeoutError
        self.now += sum(map(len, items.values())) / LINE_BYTES_A_S
        assert self.now < 60, "it is written again and again"

    def drop(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.items.pop(key, None)

    def clock(self) -> float:
        return self.now


def _written(line: Any) -> Sequence[Outcome]:
    records = [Record(key="portal", value=bytes(90_000), timestamp_ms=0) for _ in range(80)]
    batch = [Sent(stream="events", record=one, headers=b"", delivery=line) for one in records]
    return _MemcachedWriter(line, line, clock=line.clock).write(batch, threading.Event())


def test_a_batch_that_the_line_does_not_take_in_time_is_written_in_pieces() -> None:
    line = SlowLine()

    outcomes = _written(line)

    assert outcomes == [Position(partition=0, offset=number) for number in range(80)]
    assert len(line.items) == 80


def test_a_batch_that_is_refused_in_the_middle_is_kept_nowhere() -> None:
    line = SlowLine()
    line.room = 40

    outcomes = _written(line)

    assert {type(one) for one in outcomes} == {QueueUnavailable}
    assert line.items == {}


def test_a_batch_whose_answer_is_lost_and_which_is_refused_then_is_kept_nowhere() -> None:
    line = SlowLine()
    line.loses_answer = True

    outcomes = _written(line)

    assert {type(one) for one in outcomes} == {QueueUnavailable}
    assert line.items == {}
