"""What can go wrong at the command line beyond what the rooms raise."""

from collections.abc import Iterable

from forebay.schemas.errors import ForebayError

#: Exit status: something failed, was lost or stood out of order.
FAILED = 1

#: Exit status: wrong usage or settings. A supervisor does not start such a child again.
WRONG = 2


class WrongUsage(ForebayError):
    """The command can't be run like this; the message says how."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The hint for a name that is none of these: the one that is near, or the only one there is; empty without."""
    from difflib import get_close_matches

    known = list(names)
    near = get_close_matches(name, known, n=1) or (known if len(known) == 1 else [])
    return f"; did you mean {near[0]}?" if near else ""
