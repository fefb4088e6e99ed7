"""How far long work is: a bar for a person, a plain line now and then for a file."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import TextIO

from .output import on_terminal

_LINE_EVERY_S = 5.0

Told = Callable[[int], None]


def progress(doing: str, total: int, stream: TextIO) -> AbstractContextManager[Told]:
    """Call what it gives with how much is done, as often as you like."""
    return _bar(doing, total) if on_terminal(stream) else _lines(doing, total, stream, monotonic)


@contextmanager
def _bar(doing: str, total: int) -> Iterator[Told]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(doing, total=total)
        yield lambda done: shown.update(task, completed=done)


@contextmanager
def _lines(doing: str, total: int, stream: TextIO, clock: Callable[[], float]) -> Iterator[Told]:
    due = clock() + _LINE_EVERY_S

    def told(done: int) -> None:
        nonlocal due
        if clock() >= due and done < total:
            due = clock() + _LINE_EVERY_S
            print(f"{doing}: {done:,} of {total:,}", file=stream, flush=True)

    yield told
