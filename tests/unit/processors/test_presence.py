"""A process that stood still begins nothing before it was told what is still its own."""

import asyncio
from collections.abc import Awaitable, Callable

from forebay.processors.presence import Presence
from tests.clock import Clock

SESSION_S = 0.3
GAP_S = 10.0


async def asked(confirm: Callable[[], Awaitable[bool]], hand: Clock) -> tuple[Presence, "asyncio.Task[None]"]:
    presence = Presence(SESSION_S, confirm, clock=hand)
    return presence, asyncio.create_task(presence.run())


async def test_who_runs_all_the_time_is_certain_and_asks_nobody() -> None:
    hand = Clock()
    presence = Presence(SESSION_S, lambda: 1 / 0, clock=hand)  # type: ignore[arg-type,return-value]

    for _ in range(10):
        hand.now += SESSION_S / 4
        assert presence.is_certain()
    await presence.certain()


async def test_after_a_gap_nobody_is_certain_until_the_queue_has_answered() -> None:
    hand, answer = Clock(), asyncio.Event()

    async def confirm() -> bool:
        return await answer.wait()

    presence, running = await asked(confirm, hand)
    hand.now += GAP_S
    assert not presence.is_certain()
    waiting = asyncio.create_task(presence.certain())
    await asyncio.sleep(SESSION_S)
    assert not waiting.done()

    answer.set()
    await waiting

    assert presence.is_certain()
    running.cancel()


async def test_a_queue_that_does_not_answer_is_asked_again() -> None:
    hand, answers = Clock(), [False, False, True]

    async def confirm() -> bool:
        return answers.pop(0)

    presence, running = await asked(confirm, hand)
    hand.now += GAP_S

    await presence.certain()

    assert answers == []
    running.cancel()


async def test_an_answer_to_a_question_before_the_last_gap_counts_for_nothing() -> None:
    hand, questions = Clock(), 0

    async def confirm() -> bool:
        nonlocal questions
        questions += 1
        if questions == 1:
            hand.now += GAP_S
        return True

    presence, running = await asked(confirm, hand)
    hand.now += GAP_S

    await presence.certain()

    assert questions == 2
    running.cancel()
