"""From the flat pairs of a form to the nested view of them, by PHP's rules."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

#: A node of the view: a string, a map, or a list where a map's keys were exactly 0…n-1.
Node = str | dict[str, "Node"] | list["Node"]
#: The same, as it is for every body with these paths: instead of a string stands its place among the values.
_Shape = int | dict[str, "_Shape"] | list["_Shape"]
_Map = dict[str, "int | _Map"]
#: By the identity of a node the index that its next empty bracket gets. The node stands there too, so that no other can
#: have its identity when a scalar has replaced it.
_Free = dict[int, tuple[int, _Map]]

#: A longer key is no index: PHP's integers end at 19 digits, and Python's conversion costs quadratic time.
_INDEX_DIGITS = 19

#: Whatever begins with a letter comes after it, and is no index.
_BEHIND_DIGITS = ":"

#: An application's events have the same few hundred paths all the time; what comes from elsewhere is not kept whole.
_REMEMBERED = 4096
_REMEMBERED_CHARS = 100

#: And so these paths come together in the same few ways. All of them together may be so long.
_SHAPES_REMEMBERED = 1024
_SHAPE_CHARS = 4096


def keys_of(path: str) -> Sequence[str]:
    """`data[FIELDS][ID]` → `("data", "FIELDS", "ID")`, as PHP reads the name of a variable.

    An empty bracket is the key `""` (the next free index). In the first key a space, a dot, and a bracket that is
    never closed become `_`; what stands between or behind the brackets is dropped. (php-src, main/php_variables.c.)
    """
    return _remembered_keys(path) if len(path) <= _REMEMBERED_CHARS else _keys(path)


def _keys(path: str) -> tuple[str, ...]:
    path = path.lstrip(" ").partition("\0")[0]
    first, bracket, rest = path.partition("[")
    if not bracket or "]" not in rest:
        return (path.replace("[", "_", 1).replace(".", "_").replace(" ", "_"),)
    keys = [first.replace(".", "_").replace(" ", "_")]
    while bracket:
        inner, closed, rest = rest.partition("]")
        if not closed:
            break
        keys.append(inner)
        bracket, rest = rest[:1], rest[1:]
        if bracket != "[":
            break
    return tuple(keys)


_remembered_keys = lru_cache(_REMEMBERED)(_keys)


def nest(paths: tuple[str, ...], values: Sequence[str], only: str | None = None) -> dict[str, Node]:
    """The tree of the pairs: of a repeated path the last wins, of a scalar and a map under one name too.

    The top is always a map. Never raises; a name that PHP ignores (empty, or starting with a bracket) is left out.
    With `only`, a plain word, the top has nothing but that name.
    """
    return {key: _filled(shape, values) for key, shape in _SHAPES[paths, only].items()}


def _filled(shape: _Shape, values: Sequence[str]) -> Node:
    if isinstance(shape, dict):
        # Most nodes are leaves, and a call for each would take longer than all else.
        return {
            key: values[below] if isinstance(below, int) else _filled(below, values) for key, below in shape.items()
        }
    return values[shape] if isinstance(shape, int) else [_filled(below, values) for below in shape]


class _Shapes(dict[tuple[tuple[str, ...], str | None], dict[str, _Shape]]):
    def __missing__(self, key: tuple[tuple[str, ...], str | None]) -> dict[str, _Shape]:
        paths, only = key
        shape = _shape(paths, only)
        if sum(map(len, paths)) <= _SHAPE_CHARS:
            # Whatever filled it, the usual shapes are back soon.
            if len(self) >= _SHAPES_REMEMBERED:
                self.clear()
            self[key] = shape
        return shape


_SHAPES = _Shapes()


def _shape(paths: Sequence[str], only: str | None) -> dict[str, _Shape]:
    top: _Map = {}
    free: _Free = {}
    for place, path in enumerate(paths) if only is None else _perhaps_under(only, paths):
        keys = keys_of(path)
        if keys[0] and only in (None, keys[0]):
            _put(top, keys, place, free)
    return {key: _listed(node) for key, node in top.items()}


def _perhaps_under(name: str, paths: Iterable[str]) -> list[tuple[int, str]]:
    """Without most of the paths that are under other names: a look at the first letter costs less than their keys."""
    first = name[0] + " "
    return [(place, path) for place, path in enumerate(paths) if path[:1] in first]


def _put(top: _Map, keys: Sequence[str], place: int, free: _Free) -> None:
    here = top
    for key in keys[:-1]:
        key = _index(here, key, free)
        below = here.get(key)
        if not isinstance(below, dict):
            below = here[key] = {}
        here = below
    here[_index(here, keys[-1], free)] = place


def _index(node: _Map, key: str, free: _Free) -> str:
    """The key, or for an empty one the node's next free index, which `free` remembers."""
    if key >= _BEHIND_DIGITS:
        return key
    index = int(key) if key.isascii() and key.isdecimal() and len(key) < _INDEX_DIGITS else None
    if key and index is None:
        return key
    following, _ = free.get(id(node), (0, node))
    if index is None:
        index, key = following, str(following)
    free[id(node)] = max(following, index + 1), node
    return key


def _listed(node: "int | _Map") -> _Shape:
    """The node with each map of keys 0…n-1, in this order, shown as the list that the sender had."""
    if isinstance(node, int):
        return node
    shown = {key: _listed(child) for key, child in node.items()}
    if "0" in shown and all(key == str(index) for index, key in enumerate(shown)):
        return list(shown.values())
    return shown
