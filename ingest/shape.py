"""What the names of a form's fields say, whatever their values: looked at once for all forms of one shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from forebay.schemas.binary import Names
from forebay.schemas.secrecy import Secrecy, secrecy_of
from forebay.schemas.tree import keys_of

#: Falcon's compiled decoder puts it where the bytes are not UTF-8.
REPLACEMENT = "\ufffd"

#: No name below auth[…] that anybody asks for is longer.
_AUTH_PATH_CHARS = 100

#: Bitrix24 has a few hundred events, and the same one nearly always comes with the same fields. At most 40 MB.
_REMEMBERED = 1024


class Auth(NamedTuple):
    """What the top-level `auth` says of who calls, as PHP would give it; empty where it says nothing."""

    domain: str = ""
    member_id: str = ""
    application_token: str = ""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The paths of a form, in order and each once. What follows from them is found when it is first asked for."""

    paths: tuple[str, ...]

    @cached_property
    def is_utf8(self) -> bool:
        """Whether all paths are the text of their bytes."""
        return not any(REPLACEMENT in path for path in self.paths)

    @cached_property
    def depth(self) -> int:
        """The most brackets in a path."""
        return max((path.count("[") for path in self.paths), default=0)

    @cached_property
    def auth(self) -> Auth:
        """The paths of what `Auth` holds."""
        auth: dict[str, str] = {}
        for path in self.paths:
            if path.startswith("auth") and len(path) <= _AUTH_PATH_CHARS:
                _put(auth, _below_auth(path), path)
        return Auth(*(auth.get(name, "") for name in Auth._fields))

    @cached_property
    def _kept(self) -> tuple[list[str], list[str]]:
        # Both at once, as each path is looked at for it: the shape of a large form is that of one form alone.
        open: list[str] = []
        sealable: list[str] = []
        for path in self.paths:
            secrecy = secrecy_of(path)
            if secrecy is Secrecy.OPEN:
                open.append(path)
            elif secrecy is Secrecy.SEALED:
                sealable.append(path)
        return open, sealable

    @cached_property
    def open(self) -> Sequence[str]:
        """The paths that are kept in clear."""
        return self._kept[0]

    @cached_property
    def open_names(self) -> Names:
        """The same, encoded."""
        return Names(self.open)

    @cached_property
    def sealable(self) -> Sequence[str]:
        """The secret paths that may be sealed."""
        return self._kept[1]


def shape_of(paths: tuple[str, ...]) -> Shape:
    """The shape of a form with these paths."""
    return Shape(paths=paths)


#: For forms of a usual size only: anybody can make up others.
remembered_shape_of = lru_cache(maxsize=_REMEMBERED)(shape_of)


def _put(auth: dict[str, str], keys: tuple[str, ...] | None, path: str) -> None:
    match keys:
        case (name,):
            auth[name] = path
        case ():
            # A later `auth=x` makes it a scalar and void.
            auth.clear()
        case (name, *_):
            # A map by now, and so no scalar.
            auth.pop(name, None)


def _below_auth(path: str) -> tuple[str, ...] | None:
    """`auth[domain]` → `("domain",)`; None for a name that only starts like it."""
    top, *below = keys_of(path)
    return tuple(below) if top == "auth" else None
