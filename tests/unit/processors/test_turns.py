"""How long one portal may go on before the next one has its turn."""

from pathlib import Path

from forebay.processors.notes import Note
from forebay.processors.partitions import Lane, Partition
from forebay.processors.turn import TURN_RECORDS, TURN_S, Turn
from forebay.queues.contract import PlacedRecord
from tests.clock import Clock
from tests.lives import Lives


def test_a_turn_is_over_after_so_many_records() -> None:
    turn = Turn(Clock(7.0), int, 0)

    assert [turn.goes_on() for _ in range(TURN_RECORDS)] == [True] * (TURN_RECORDS - 1) + [False]


def test_a_turn_is_over_after_its_time() -> None:
    clock = Clock(7.0)
    turn = Turn(clock, int, 0)

    clock.now += TURN_S / 2
    in_time = turn.goes_on()
    clock.now = 7.0 + TURN_S

    assert (in_time, turn.goes_on()) == (True, False)


async def test_what_is_handled_with_care_has_a_turn_of_its_own(tmp_path: Path) -> None:
    lane = Lane(Partition(0, 0, Note()), "a.ru")
    lane.records.append(PlacedRecord(key="a.ru", value=b"", timestamp_ms=0, stream="s", partition=0, offset=0))
    lives = Lives(tmp_path)
    await lives.begin().enter(1, lane)
    lives.end()
    caution = lives.begin()

    care = await caution.enter(1, lane)
    lives.life.close()

    assert caution.is_needed and care is not None
    assert not Turn(Clock(7.0), int, 0, care).goes_on()
