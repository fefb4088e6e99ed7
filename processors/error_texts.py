"""What an error says, as it is kept and logged: bounded, and without secrets."""

from collections.abc import Callable
from pathlib import Path
from traceback import format_exception
from types import TracebackType

from forebay.schemas.redaction import without_secrets

#: Enough for what a person reads; headers count into a queue's limit for a record.
_MAX_ERROR_CHARS = 2000
_MAX_TRACEBACK_CHARS = 8000
#: To look for secrets holds up the loop, some 10 ms for so much; of what is longer the rest is not even looked at.
_MAX_READ_CHARS = 65_536
#: `password = 123` are three words: without the first three, what is cut out of a text begins in no secret.
_SECRET_WORDS = 3

#: Frames of ours stand first in a traceback and tell a handler's author nothing.
_OUR_FRAMES = {str(Path(__file__).with_name(name)) for name in ("calls.py", "runners.py", "threads.py")}


def error_text(error: BaseException) -> str:
    """What the error says, bounded and without secrets."""
    text = _shown(error, lambda: str(error))[:_MAX_READ_CHARS]
    # A part of a secret is not known as one any more: take it out first, then cut.
    return without_secrets(text)[:_MAX_ERROR_CHARS]


def error_class(error: BaseException) -> str:
    """The error's class as one would import it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def error_traceback(error: BaseException) -> str:
    """The traceback from the handler on, bounded, without values of variables and without secrets."""
    trace = _from_handler_on(error.__traceback__)
    text = _shown(error, lambda: "".join(format_exception(type(error), error, trace)))
    if len(text) > _MAX_READ_CHARS:
        text = "".join(text[-_MAX_READ_CHARS:].split(maxsplit=_SECRET_WORDS)[_SECRET_WORDS:])
    return without_secrets(text)[-_MAX_TRACEBACK_CHARS:]


def _shown(error: BaseException, show: Callable[[], str]) -> str:
    # To show an error runs code of whoever wrote its class, which may raise anything. Half of a character that needs
    # two, as a text that was cut has it, can't be kept anywhere.
    try:
        return show().encode(errors="replace").decode()
    except BaseException:
        return f"<{type(error).__name__}: its text can't be shown>"


def _from_handler_on(trace: TracebackType | None) -> TracebackType | None:
    here = trace
    while here is not None and here.tb_frame.f_code.co_filename in _OUR_FRAMES:
        here = here.tb_next
    return here or trace
