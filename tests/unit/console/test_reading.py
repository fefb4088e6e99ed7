import asyncio
from typing import Any, cast

import pytest

from forebay.console.checks.queue import _newest
from forebay.console.reading import firsts, portal_key
from forebay.queues.contract import Bounds, Inspector, PlacedRecord, StoredRecord
from forebay.queues.errors import QueueUnavailable


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("https://Example.Bitrix24.com/crm/", "example.bitrix24.com"),
        ("10.0.0.7:8080", "10.0.0.7:8080"),
        ("http://CRM:8080", "crm:8080"),
        ("crm", "crm"),
        ("портал", "xn--80awhdgm"),
        ("a223c6b3710f85df22e9377d6c4f7553", "a223c6b3710f85df22e9377d6c4f7553"),
        ("Member_ID", "Member_ID"),
    ],
)
def test_a_portal_is_known_by_any_name_of_its_domain_and_by_its_member_id(said: str, key: str) -> None:
    assert portal_key(said) == key


class Partitions:
    """So many with a record each, at its own number; those that are broken can't be read."""

    def __init__(self, many: int, *broken: int) -> None:
        self.many, self.broken = many, broken
        self.at_once = self.most_at_once = self.reads = 0

    async def bounds(self, stream: str) -> dict[int, Bounds]:
        return {number: Bounds(start=number, end=number + 1) for number in range(self.many)}

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        self.reads += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        if partition in self.broken:
            raise QueueUnavailable("nobody leads it")
        return [PlacedRecord(key="", value=b"", timestamp_ms=1, stream=stream, partition=partition, offset=partition)]


async def test_many_partitions_are_looked_into_side_by_side_and_none_in_vain() -> None:
    inspector, answers = Partitions(300), list[None]()
    spans = {number: (number, number + number % 2) for number in range(300)}

    found = await firsts(cast(Inspector, inspector), "events", spans, lambda: answers.append(None))

    assert {number: one.offset for number, one in found.items()} == {number: number for number in range(1, 300, 2)}
    assert inspector.reads == len(answers) == 150
    assert 1 < inspector.most_at_once < 50


async def test_a_partition_that_cannot_be_read_ends_the_look_at_all() -> None:
    inspector = Partitions(300, 20)

    with pytest.raises(QueueUnavailable, match="nobody leads it"):
        await firsts(cast(Inspector, inspector), "events", {number: (0, 300) for number in range(300)})

    assert inspector.reads < 100
    assert not inspector.at_once


async def test_each_answer_of_a_queue_with_many_partitions_is_one_that_the_doctor_has_waited_for() -> None:
    class Patience:
        begun = 0

        def expired(self) -> bool:
            return False

        def reschedule(self, at: float) -> None:
            self.begun += 1

    patience: Any = Patience()

    assert (await _newest(cast(Inspector, Partitions(300)), "events", patience)).state == "ok"
    assert patience.begun == 300
