"""How work in pieces leaves turns of the event loop to others."""

import asyncio
import time

from forebay.processors.parking.pace import Pace


async def test_no_more_is_begun_in_a_turn_of_the_loop_and_nobody_passes_another() -> None:
    pace, begun = Pace(10, 0), list[int]()

    async def piece(number: int, size: int) -> None:
        await pace.begin(size)
        begun.append(number)

    sizes = [4, 4, 4, 1, 50, 1, *[1] * 12]
    cancelled = len(sizes)
    pieces = [asyncio.ensure_future(piece(number, size)) for number, size in enumerate([*sizes, 50, 1])]
    turns = list[list[int]]()
    while len(begun) <= len(sizes):
        await asyncio.sleep(0)
        pieces[cancelled].cancel()
        turns.append(begun[sum(map(len, turns)) :])

    # With the last of a turn comes its whole piece.
    assert [turn for turn in turns if turn] == [[0, 1, 2], [3, 4], [*range(5, 15)], [15, 16, 17, cancelled + 1]]


async def test_where_a_turn_takes_long_more_is_begun_in_the_next_one() -> None:
    pace, begun = Pace(1, 1000), list[int]()

    async def piece(number: int) -> None:
        await pace.begin(1)
        begun.append(number)
        if not number:
            # Another's work, which holds up the loop: only so is a turn long.
            time.sleep(0.05)

    pieces = [asyncio.ensure_future(piece(number)) for number in range(40)]
    for _ in range(3):
        await asyncio.sleep(0)

    assert begun == [*range(40)]
    assert all(one.done() for one in pieces)
