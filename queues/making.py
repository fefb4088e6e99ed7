"""Which streams are to be made: the same rule in every queue that counts its partitions itself."""

from collections.abc import Callable, Iterable

from .errors import QueueError


def new_streams(names: Iterable[str], partitions: int, found: Callable[[str], int | None]) -> list[str]:
    """Those that are not there, each once; `found` gives how many partitions one has, None where there is none.

    Raises `QueueError` for one that has another number.
    """
    new = []
    for name in dict.fromkeys(names):
        has = found(name)
        if has is None:
            new.append(name)
        elif has != partitions:
            raise QueueError(
                f"stream {name} has {has} partitions, not {partitions}: another number would move portals to other "
                f"partitions and break their order. Set partitions = {has}, or choose another topic"
            )
    return new


def told(name: str, partitions: int) -> str:
    """What is made, as a person reads it."""
    return f"stream {name} with {partitions} partitions"
