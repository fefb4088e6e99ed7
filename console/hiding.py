"""Takes secrets out of log lines: nobody means to log one, and once it happens it must not be there.

Fields are judged by the rule that sealing has for them, wherever they stand in a line; texts by their surroundings.
"""

from collections.abc import Mapping, Sequence, Set

from structlog.typing import EventDict

from forebay.schemas.redaction import names_a_secret, without_secrets
from forebay.schemas.secrecy import Secrecy, secrecy_of

_HIDDEN = "***"

#: Longer texts are cut, which makes a line that can still be read, and bounds the time that looking through it takes.
_MAX_CHARS = 16_384

#: Bodies are nested five levels deep; what is deeper is shown as a text.
_MAX_DEPTH = 12

_PAIR = 2


def hide_secrets(logger: object, method: str, words: EventDict) -> EventDict:
    """A processor of structlog, for the end of the chain: errors have to be texts by then."""
    return {name: _shown(value, name, 0) for name, value in words.items()}


def _shown(value: object, path: str, depth: int) -> object:
    if value is not None and _is_secret(path, value):
        return _HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _clean(bytes(value[:_MAX_CHARS]).decode(errors="replace"))
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            return {
                _clean(_text(name)): _shown(item, _below(path, _text(name)), depth + 1) for name, item in value.items()
            }
        if isinstance(value, Sequence | Set):
            return _items(value, path, depth + 1)
    return _clean(_text(value))


def _items(value: Sequence[object] | Set[object], path: str, depth: int) -> list[object]:
    items = list(value)
    if len(items) == _PAIR and isinstance(items[0], str | bytes) and _is_secret(_text(items[0]), items[1]):
        # One of a list of pairs, as forms are read.
        return [_text(items[0]), _HIDDEN]
    return [_shown(item, path, depth) for item in items]


def _below(path: str, name: str) -> str:
    """As the form would have it: `auth[access_token]`. A name that is a path already stays one."""
    return name if "[" in name or not path else f"{path}[{name}]"


def _is_secret(path: str, value: object) -> bool:
    if secrecy_of(path) is not Secrecy.OPEN:
        return True
    # A table is looked into: an event's own is called `auth`.
    return not isinstance(value, Mapping) and names_a_secret(path.rpartition("[")[2].rstrip("]") or path)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    # To show a thing runs code of whoever wrote its class, which may raise anything.
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}: it can't be shown>"


def _clean(text: str) -> str:
    return without_secrets(text[:_MAX_CHARS])
