"""Bytes of a form → fields, by PHP's rules, on compiled code.

`+` is a space, an invalid percent sequence stays as it is, `a` alone is an empty value, `;` separates nothing.
"""

import re
from collections.abc import Mapping
from itertools import islice

from falcon.uri import parse_query_string

from forebay.schemas.quick_value import quick_value

from .shape import REPLACEMENT, Auth, Shape, remembered_shape_of, shape_of

#: The rest of a pair whose name is `auth` or below it, as http_build_query writes it.
_BELOW_AUTH = re.compile(rb"(?:(?:\[|%5[Bb])[^=&]*)?=[^&]*")

#: Bitrix24's forms are smaller. The shape of a larger one is not remembered: anybody can make up others.
_USUAL_BYTES = 8192
_USUAL_FIELDS = 128


@quick_value
class Form:
    """The fields of a body. Of a repeated path they have the last value, in the place of the first."""

    body: bytes
    fields: Mapping[str, str]
    shape: Shape
    #: The fields give back every pair: no path came twice, and all is UTF-8.
    regular: bool
    #: False when there were more than `max_fields` pairs: then the fields are only those of `auth`.
    whole: bool = True


def parse(body: bytes, max_fields: int) -> Form:
    """The form in the body. Never fails; a body of too many pairs is read only as far as authentication needs it."""
    pairs = body.count(b"&") + 1
    if pairs > max_fields:
        return only_auth(body, max_fields)
    found = parse_query_string(body.decode("utf-8", "replace"), keep_blank=True, csv=False)
    is_usual = pairs <= _USUAL_FIELDS and len(body) <= _USUAL_BYTES
    shape = (remembered_shape_of if is_usual else shape_of)(tuple(found))
    # A count that differs is a repeated path or an empty pair; the exact reading tells which, where it matters.
    if len(found) != pairs:
        last = {path: value if isinstance(value, str) else value[-1] for path, value in found.items()}
        return Form(body=body, fields=last, shape=shape, regular=False)
    text = "".join(found.values())  # type: ignore[arg-type]  # no lists: no path came twice
    regular = shape.is_utf8 and (text.isascii() or REPLACEMENT not in text)
    return Form(body, found, shape, regular)  # type: ignore[arg-type]  # as above


def only_auth(body: bytes, max_fields: int) -> Form:
    """What the body says of its sender, in the way that portals write it; the rest of it is not read."""
    # Cut by compiled code: an expression that looks for the pairs takes longer than reading all of them.
    parts = (b"&" + body).split(b"&auth")[1:]
    found = list(islice((b"auth" + pair[0] for pair in map(_BELOW_AUTH.match, parts) if pair), max_fields))
    # The auth of a portal has a dozen pairs. Thousands are nobody's, and are left unread.
    if len(found) >= max_fields:
        return Form(body=body, fields={}, shape=shape_of(()), regular=False, whole=False)
    known = parse(b"&".join(found), max_fields)
    return Form(body=body, fields=known.fields, shape=known.shape, regular=False, whole=False)


def is_deeper(form: Form, levels: int) -> bool:
    """Whether a path of the form has more brackets than that."""
    return form.shape.depth > levels


def auth_of(form: Form) -> Auth:
    """Who calls, by the form's own word."""
    fields = form.fields
    domain, member_id, token = form.shape.auth
    return Auth(
        fields[domain] if domain else "", fields[member_id] if member_id else "", fields[token] if token else ""
    )
