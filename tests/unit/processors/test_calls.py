"""One call of a handler: whatever it does, there is an outcome."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, cast
from weakref import ref

import pytest
from structlog.testing import capture_logs

from forebay import Handlers, PortalEvent, Reject, Retry
from forebay.processors.calls import Calls
from forebay.processors.errors import BadReturn, DeadlineExceeded, HandlerCancelled
from forebay.processors.outcome import DONE, Done, Failed, Outcome, Rejected, RetryAsked, Undecodable
from forebay.processors.testing import event
from forebay.schemas.errors import UndecodableEvent

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    made = Calls(threads=2, deadline_s=30)
    yield made
    assert made.close() == 0


async def outcome_of(calls: Calls, function: Callable[..., Any], **options: Any) -> Outcome:
    handlers = Handlers()
    handlers.on("*", **options)(function)
    handler = handlers.find("event", "ONAPPTEST")
    assert handler
    return await calls.call(handler, event("ONAPPTEST"))


def raising(error: BaseException, how: str) -> Callable[[PortalEvent], Any]:
    async def at_once(event: PortalEvent) -> None:
        raise error

    async def after_a_wait(event: PortalEvent) -> None:
        await asyncio.sleep(0)
        raise error

    def in_a_thread(event: PortalEvent) -> None:
        raise error

    return {"at once": at_once, "after a wait": after_a_wait, "in a thread": in_a_thread}[how]


@pytest.mark.parametrize("how", ["at once", "after a wait", "in a thread"])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Retry(after_s=3), RetryAsked),
        (Reject("no such deal"), Rejected),
        (UndecodableEvent("the body is broken"), Undecodable),
        (ValueError("no"), Failed),
        (TimeoutError("the handler's own"), Failed),
        (SystemExit(3), Failed),
        (KeyboardInterrupt(), Failed),
    ],
)
async def test_what_is_raised_becomes_an_outcome(calls: Calls, how: str, error: BaseException, expected: Any) -> None:
    outcome = await outcome_of(calls, raising(error, how))

    assert outcome == expected(error=error)


@pytest.mark.parametrize("how", ["at once", "after a wait", "in a thread"])
async def test_a_handler_that_raises_generator_exit_has_failed(calls: Calls, how: str) -> None:
    error = GeneratorExit()

    outcome = await outcome_of(calls, raising(error, how))

    assert isinstance(outcome, Failed)
    assert error in (outcome.error, outcome.error.__cause__)


@pytest.mark.parametrize("how", ["at once", "after a wait", "in a thread"])
async def test_a_handler_that_cancels_itself_has_failed(calls: Calls, how: str) -> None:
    outcome = await outcome_of(calls, raising(asyncio.CancelledError(), how))

    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, HandlerCancelled)


async def test_a_handler_that_cancels_its_task_leaves_the_task_usable(calls: Calls) -> None:
    async def handler(event: PortalEvent) -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()
        await asyncio.sleep(0)

    outcome = await outcome_of(calls, handler)
    await asyncio.sleep(0)

    assert isinstance(outcome, Failed)


async def test_an_async_handler_is_cancelled_at_its_deadline(calls: Calls) -> None:
    cleaned_up = asyncio.Event()

    async def handler(event: PortalEvent) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up.set()

    outcome = await outcome_of(calls, handler, deadline_s=0.01)

    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, DeadlineExceeded)
    assert cleaned_up.is_set()


async def test_swallowing_the_cancellation_doesn_t_make_it_done(calls: Calls) -> None:
    async def handler(event: PortalEvent) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    outcome = await outcome_of(calls, handler, deadline_s=0.01)

    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, DeadlineExceeded)


async def test_a_thread_over_its_deadline_is_late_reported_and_done_when_it_returns(calls: Calls) -> None:
    go_on = threading.Event()

    def handler(event: PortalEvent) -> None:
        assert go_on.wait(30)

    with capture_logs() as logs:
        call = asyncio.create_task(outcome_of(calls, handler, deadline_s=0.01))
        async with asyncio.timeout(30):
            while not logs:
                await asyncio.sleep(0.005)
        go_on.set()
        outcome = await call

    assert outcome == Done(late=True)
    assert logs[0]["event"] == "handler over its deadline"
    assert logs[0]["portal"] == "example.bitrix24.com"


async def test_more_calls_than_threads_wait_and_the_loop_goes_on(calls: Calls) -> None:
    gate, running, most = threading.Event(), [], []

    def handler(event: PortalEvent) -> None:
        running.append(1)
        most.append(len(running))
        assert gate.wait(30)
        running.pop()

    waiting = [asyncio.create_task(outcome_of(calls, handler)) for _ in range(6)]
    while len(most) < 2:
        await asyncio.sleep(0)
    gate.set()

    assert await asyncio.gather(*waiting) == [DONE] * 6
    assert max(most) == 2


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_call_has_its_own_context(calls: Calls, kind: str) -> None:
    seen = []

    async def on_loop(event: PortalEvent) -> None:
        seen.append(WHO.get())
        WHO.set("somebody")
        await asyncio.sleep(0)
        seen.append(WHO.get())

    def in_thread(event: PortalEvent) -> None:
        seen.append(WHO.get())
        WHO.set("somebody")
        seen.append(WHO.get())

    WHO.set("the caller")
    for _ in range(2):
        await outcome_of(calls, on_loop if kind == "async" else in_thread)

    assert seen == ["the caller", "somebody"] * 2
    assert WHO.get() == "the caller"


async def test_calls_that_wait_at_the_same_time_have_each_its_own_end(calls: Calls) -> None:
    gates = [asyncio.Event() for _ in range(3)]
    ended: list[int] = []

    def waiting(number: int) -> Callable[[PortalEvent], Any]:
        async def handle(event: PortalEvent) -> None:
            await gates[number].wait()
            ended.append(number)
            if number == 1:
                raise Reject("no such deal")

        return handle

    under_way = [asyncio.create_task(outcome_of(calls, waiting(number))) for number in range(3)]
    for gate in reversed(gates):
        await asyncio.sleep(0)
        gate.set()
    outcomes = await asyncio.gather(*under_way)

    assert ended == [2, 1, 0]
    assert outcomes[0] is outcomes[2] is DONE
    assert isinstance(outcomes[1], Rejected)


@pytest.mark.parametrize("naps", [0, 2])
@pytest.mark.parametrize(("value", "expected"), [(None, Done), (Reject("it returned it"), Failed)])
async def test_a_compiled_coroutine_is_one_too(calls: Calls, naps: int, value: object, expected: Any) -> None:
    class Compiled:
        """As Cython's: no coroutine of Python's, and nothing to iterate over."""

        def __init__(self, _: PortalEvent) -> None:
            """It is called as any other is."""

        def __await__(self) -> Generator[None, None, object]:
            for _ in range(naps):
                yield
            return value

    handlers = Handlers()

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        """Is replaced."""

    (handler,), compiled = handlers, cast(Any, Compiled)
    outcome = await calls.call(replace(handler, function=compiled), event("ONAPPTEST"))

    assert isinstance(outcome, expected)


async def test_async_libraries_work_in_a_handler(calls: Calls) -> None:
    async def handler(event: PortalEvent) -> None:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.001))
            await asyncio.to_thread(sys.getrefcount, None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0.001))

    assert await outcome_of(calls, handler) is DONE


async def test_returning_what_should_be_raised_is_a_failure_that_says_so(calls: Calls) -> None:
    async def later(event: PortalEvent) -> None: ...

    returns: list[Callable[[PortalEvent], Any]] = [
        lambda event: Retry(after_s=1),
        lambda event: Reject("no"),
        lambda event: later(event),
    ]

    for function in returns:
        outcome = await outcome_of(calls, function)
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, BadReturn)


async def test_any_other_return_value_is_ignored_and_told_once(calls: Calls) -> None:
    async def handler(event: PortalEvent) -> Any:
        return {"status": "ok"}

    with capture_logs() as logs:
        assert [await outcome_of(calls, handler) for _ in range(3)] == [DONE] * 3

    assert [log["event"] for log in logs] == ["a handler's return value is ignored"]


async def test_a_return_value_is_let_go_of_at_once(calls: Calls) -> None:
    class Report:
        """May be large, and the next call may be long in coming."""

    made = list[ref[Report]]()

    async def handle(event: PortalEvent) -> Report:
        report = Report()
        made.append(ref(report))
        return report

    await outcome_of(calls, handle)

    assert made[0]() is None


async def test_a_handler_that_holds_up_the_loop_is_told_once() -> None:
    times = iter([0.0, 0.3, 1.0, 1.3])
    calls = Calls(threads=1, deadline_s=30, clock=lambda: next(times))

    async def handler(event: PortalEvent) -> None: ...

    with capture_logs() as logs:
        for _ in range(2):
            assert await outcome_of(calls, handler) is DONE
    calls.close()

    assert [(log["event"], log["seconds"]) for log in logs] == [("handler held up the loop", 0.3)]
