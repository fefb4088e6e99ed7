"""Which name was meant by one that there is not."""

from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The hint for a name that is none of these: the one that is near, or the only one there is; empty without."""
    from difflib import get_close_matches

    known = list(names)
    near = get_close_matches(name, known, n=1) or (known if len(known) == 1 else [])
    return f"; did you mean {near[0]}?" if near else ""
