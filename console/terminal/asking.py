"""A question before something is done that can't be taken back."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from forebay.console.errors import FAILED

from .output import on_terminal


def agreed(question: str, *, yes: bool) -> bool:
    """True when the person agrees, said `--yes`, or is a script; else the command ends with status 1."""
    if yes or not on_terminal(sys.stdin) or confirmed(question):
        return True
    raise typer.Exit(FAILED)


def confirmed(question: str) -> bool:
    """Ask, whoever is there to answer; Ctrl-C and SIGTERM end the command meanwhile, also where a loop waits."""
    # Not on standard output, which may be a pipe: a program would read the question, and the person would not.
    with _ended_by_signals():
        return typer.confirm(question, err=True)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Meanwhile Ctrl-C and SIGTERM end the command at once: a loop that waits for the answer hears of neither."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
