"""What a call in another process came to, as bytes: what it returned, or the error with its traceback as text."""

import pickle
from traceback import format_exception, format_exception_only

from forebay.processors.errors import RaisedElsewhere

#: What a handler returned, or what it raised.
Ended = tuple[object, BaseException | None]


class Traceback(Exception):
    """The traceback of an error that was raised in another process, as text: shown as its cause."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def packed(returned: object, raised: BaseException | None) -> bytes:
    """The answer. A value that is no None only has to be told of; an error that can't be carried goes as its text."""
    if raised is None:
        return pickle.dumps((None if returned is None else type(returned).__name__, None, ""))
    text = "".join(format_exception(raised))
    try:
        answer = pickle.dumps((None, raised, text))
        # Many classes take other arguments than they keep: it shows only where they are made again.
        pickle.loads(answer)  # noqa: S301 - our own bytes
    # The class is the user's, and so is what its pickling does.
    except Exception:
        # And so is what it says of itself, which this shows whatever that does.
        said = "".join(format_exception_only(raised)).strip()
        return pickle.dumps((None, RaisedElsewhere(said), text))
    return answer


def unpacked(answer: bytes) -> Ended:
    """What `packed` was given, near enough: of a returned value its type's name."""
    returned, raised, text = pickle.loads(answer)  # noqa: S301 - our own child's bytes
    if raised is not None:
        raised.__cause__ = Traceback(text)
    return returned, raised
