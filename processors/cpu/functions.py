"""Which functions another process can be told: those that it can import."""

import inspect
import pickle
from collections.abc import Iterable, Mapping

from forebay.processors.errors import BadHandler
from forebay.processors.handlers import Handler

_RULE = "a handler with cpu=True is a function at the top of a module, with @handlers.on as its outermost decorator"


def packed_functions(handlers: Iterable[Handler]) -> tuple[bytes, Mapping[object, int]]:
    """The handlers' functions as bytes, and the number that each has there. Raises `BadHandler`."""
    functions = {handler.function: handler for handler in handlers}
    for handler in functions.values():
        _check(handler)
    return pickle.dumps(list(functions)), {function: number for number, function in enumerate(functions)}


def _check(handler: Handler) -> None:
    if getattr(inspect.unwrap(handler.function), "__module__", None) == "__main__":
        raise BadHandler(f"{_named(handler)} is in the script that was started, which nobody can import; {_RULE}")
    try:
        pickle.dumps(handler.function)
    # What can't be pickled says so by one of these, or by what the user's __reduce__ raises.
    except Exception as error:
        raise BadHandler(f"{_named(handler)} can't be called in another process: {error}; {_RULE}") from error


def _named(handler: Handler) -> str:
    return f"{handler.name} ({handler.place})"
