"""What a handler leaves of a cancellation. Its task is a slot's, and other handlers come after it there.

It may cancel its task and return, or leave a timeout or a group of tasks behind that cancels it later: neither is meant
for who comes next, nor for the slot.
"""

import asyncio
from contextlib import suppress
from typing import Any, TypeAlias

Task: TypeAlias = "asyncio.Task[Any]"


def take_back(task: Task) -> None:
    """The task has more to do. Who asked for the cancellation has marked what it was about: a watch or a partition."""
    while task.cancelling():
        task.uncancel()


async def settle(task: Task) -> None:
    """The same of one that may be still to come: before Python 3.13 it would, at whatever the task awaits next."""
    if task.cancelling():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        take_back(task)


def current_task(loop: asyncio.AbstractEventLoop | None = None) -> Task:
    """The task that runs; sooner told to one who knows in which loop."""
    task = asyncio.current_task(loop)
    assert task is not None, "only a task can be cancelled"  # noqa: S101 - for mypy
    return task
