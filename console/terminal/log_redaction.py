"""Takes secrets out of log lines: nobody means to log one, and once it happens it must not be there.

Fields are judged by the rule that sealing has for them, wherever they stand in a line; texts by their surroundings.
"""

from collections.abc import Mapping, Sequence, Set
from itertools import islice

from structlog.typing import EventDict

from forebay.schemas.redaction import names_a_secret, without_secrets
from forebay.schemas.secrecy import Secrecy, secrecy_of

_HIDDEN = "***"

#: So much of a text is looked through, which takes some milliseconds.
_MOST_CHARS = 65_536

#: What is shown of a longer text: its beginning, and its end, where Python puts the error that counts.
_END_CHARS = 8_192

#: So many items of a list or a table are shown.
_MOST_ITEMS = 1_000
_MORE = "…"

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
        return _clean(bytes(value[:_MOST_CHARS]).decode(errors="replace"))
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            return _table(value, path, depth + 1)
        if isinstance(value, Sequence | Set):
            return _items(value, path, depth + 1)
    return _clean(_text(value))


def _table(value: Mapping[object, object], path: str, depth: int) -> dict[str, object]:
    shown = {
        _clean(_text(name)): _shown(item, _below(path, _text(name)), depth)
        for name, item in islice(value.items(), _MOST_ITEMS)
    }
    return shown | {_MORE: len(value) - _MOST_ITEMS} if len(value) > _MOST_ITEMS else shown


def _items(value: Sequence[object] | Set[object], path: str, depth: int) -> list[object]:
    items = list(islice(value, _MOST_ITEMS))
    if len(items) == _PAIR and isinstance(items[0], str | bytes) and _is_secret(_text(items[0]), items[1]):
        # One of a list of pairs, as forms are read.
        return [_text(items[0]), _HIDDEN]
    shown = [_shown(item, path, depth) for item in items]
    return [*shown, _MORE] if len(value) > _MOST_ITEMS else shown


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
    # Cut when nothing secret is in it any more: of a half nobody could tell.
    shown = without_secrets(text[:_MOST_CHARS])
    if len(text) > _MOST_CHARS:
        shown += _MORE
    return shown if len(shown) <= 2 * _END_CHARS else f"{shown[:_END_CHARS]} {_MORE} {shown[-_END_CHARS:]}"
