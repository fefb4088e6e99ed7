"""What a call in another process came to, as bytes: what it returned, or the error with its traceback as text."""

import io
import pickle
from traceback import format_exception, format_exception_only
from types import FunctionType
from typing import Any

from forebay.processors.errors import RaisedElsewhere, Reject, Retry

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
        answer = _pickled((None, raised, text))
        pickle.loads(answer)  # noqa: S301 - our own bytes
    # The class is the user's, and so is what its pickling does.
    except Exception:
        return pickle.dumps((None, _likeness(raised), text))
    return answer


def _likeness(raised: BaseException) -> BaseException:
    """What can be carried in its place: it names the error, and asks the worker for the same."""
    # What an error says of itself is the user's, too, which this shows whatever that does.
    said = "".join(format_exception_only(raised)).strip()
    if isinstance(raised, Reject):
        rejection = Reject(said)
        rejection.done = raised.done
        return rejection
    if isinstance(raised, Retry):
        retry = Retry(said)
        # As they are: a class of the user's may say what our own would refuse.
        retry.after_s, retry.done = raised.after_s, raised.done
        return retry
    return RaisedElsewhere(said)


class _Pickler(pickle.Pickler):
    def reducer_override(self, given: Any) -> Any:
        """Many errors take other arguments than they keep: what they keep is enough to be made of again."""
        kind: Any = type(given)
        # Those of C keep more than that, and those that say how they are made again know better.
        if not isinstance(given, BaseException) or not isinstance(kind.__init__, FunctionType):
            return NotImplemented
        if kind.__reduce__ is not BaseException.__reduce__:
            return NotImplemented
        return _made_again, (kind, given.args), given.__dict__


def _pickled(answer: tuple[None, BaseException, str]) -> bytes:
    file = io.BytesIO()
    _Pickler(file).dump(answer)
    return file.getvalue()


def _made_again(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    return kind.__new__(kind, *args)


def unpacked(answer: bytes) -> Ended:
    """What `packed` was given, near enough: of a returned value its type's name."""
    returned, raised, text = pickle.loads(answer)  # noqa: S301 - our own child's bytes
    if raised is not None:
        raised.__cause__ = Traceback(text)
    return returned, raised
