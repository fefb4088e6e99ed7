"""How those values are made that every call of a portal needs several of."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

_Value = TypeVar("_Value")


@dataclass_transform(frozen_default=True)
def quick_value(cls: type[_Value]) -> type[_Value]:
    """A dataclass that nobody changes: mypy sees to it. Where Python guards it too, it takes twice as long to make.

    So it does with the names of its fields. For what is made for each event, and there by position; elsewhere
    `dataclass(frozen=True, …)` and names say it more plainly.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
