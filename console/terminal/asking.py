"""A question before something is done that can't be taken back."""

import sys

import typer

from forebay.console.errors import FAILED

from .output import on_terminal


def agreed(question: str, *, yes: bool) -> bool:
    """True when the person agrees, said `--yes`, or is a script; else the command ends with status 1."""
    # Not on standard output, which may be a pipe: a program would read the question, and the person would not.
    if yes or not on_terminal(sys.stdin) or typer.confirm(question, err=True):
        return True
    raise typer.Exit(FAILED)
