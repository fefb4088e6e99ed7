"""Bytes of a form → fields, by PHP's rules, on compiled code.

`+` is a space, an invalid percent sequence stays as it is, `a` alone is an empty value, `;` separates nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from falcon.uri import parse_query_string

from forebay.schemas.event import Pair
from forebay.schemas.tree import keys_of

#: Falcon's compiled decoder puts it where the bytes are not UTF-8.
_REPLACEMENT = "\ufffd"

#: A pair whose name starts with `auth`, as http_build_query writes it; for bodies too large to be parsed whole.
_AUTH_PAIR = re.compile(rb"(?:^|&)(auth(?:(?:\[|%5[Bb])[^=&]*)?=[^&]*)")

#: No name below auth[…] that anybody asks for is longer.
_AUTH_PATH_CHARS = 100

#: A portal's auth has a dozen names.
_REMEMBERED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The fields of a body. Of a repeated path they have the last value, in the place of the first."""

    body: bytes
    fields: Mapping[str, str]
    #: The fields give back every pair: no path came twice, and all is UTF-8.
    regular: bool
    #: False when there were more than `max_fields` pairs: then the fields are only those of `auth`.
    whole: bool = True


def parse(body: bytes, max_fields: int) -> Form:
    """The form in the body. Never fails; a body of too many pairs is read only as far as authentication needs it."""
    if body.count(b"&") >= max_fields:
        return _only_auth(body, max_fields)
    found = parse_query_string(body.decode("utf-8", "replace"), keep_blank=True, csv=False)
    # A count that differs is a repeated path or an empty pair; the exact reading tells which, where it matters.
    if len(found) != body.count(b"&") + 1:
        last = {path: value if isinstance(value, str) else value[-1] for path, value in found.items()}
        return Form(body=body, fields=last, regular=False)
    regular = _REPLACEMENT not in "".join(found) and _REPLACEMENT not in "".join(found.values())  # type: ignore[arg-type]  # no lists: no path came twice
    return Form(body=body, fields=found, regular=regular)  # type: ignore[arg-type]  # as above


def _only_auth(body: bytes, max_fields: int) -> Form:
    found = _AUTH_PAIR.findall(body)
    # The auth of a portal has a dozen pairs. Thousands are nobody's, and are left unread.
    known = parse(b"&".join(found), max_fields) if len(found) < max_fields else None
    return Form(body=body, fields=known.fields if known else {}, regular=False, whole=False)


def pairs_of(body: bytes) -> list[Pair]:
    """Every pair as sent, percent-decoded, in order and with repeats. Slow: for forms that are not regular."""
    return [_pair(part) for part in body.replace(b"+", b" ").split(b"&") if part]


def _pair(part: bytes) -> Pair:
    name, _, value = part.partition(b"=")
    return unquote_to_bytes(name), unquote_to_bytes(value)


def is_deeper(form: Form, levels: int) -> bool:
    """Whether a path of the form has more brackets than that."""
    body = form.body
    # With so few brackets in the whole body no path of it can be too deep.
    if body.count(b"[") + body.count(b"%5B") + body.count(b"%5b") <= levels:
        return False
    return any(path.count("[") > levels for path in form.fields)


def auth_of(fields: Mapping[str, str]) -> dict[str, str]:
    """The scalars of the top-level `auth`, as PHP would give them: a later `auth=x` makes it a scalar and void."""
    auth: dict[str, str] = {}
    for path, value in fields.items():
        if path.startswith("auth") and len(path) <= _AUTH_PATH_CHARS:
            _put(auth, _below_auth(path), value)
    return auth


def _put(auth: dict[str, str], keys: tuple[str, ...] | None, value: str) -> None:
    match keys:
        case (name,):
            auth[name] = value
        case ():
            auth.clear()
        case (name, *_):
            # A map by now, and so no scalar.
            auth.pop(name, None)


@lru_cache(maxsize=_REMEMBERED)
def _below_auth(path: str) -> tuple[str, ...] | None:
    """`auth[domain]` → `("domain",)`; None for a name that only starts like it."""
    top, *below = keys_of(path)
    return tuple(below) if top == "auth" else None
