"""Attributes of an event that are made when they are first looked at."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

_Value = TypeVar("_Value")


class lazy(Generic[_Value]):
    """As `functools.cached_property`, without the lock that Python 3.11 has in it: that takes longer than many a body.

    So threads that look for the first time at once may each make the value.
    """

    def __init__(self, make: Callable[[Any], _Value]) -> None:
        self._make, self._name, self.__doc__ = make, make.__name__, make.__doc__

    def __get__(self, owner: Any, _: object = None) -> _Value:
        made = self._make(owner)
        owner.__dict__[self._name] = made
        return made
