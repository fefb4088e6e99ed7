"""What looks like a secret is taken out of texts that are kept or logged: whoever wrote them meant no harm.

By name it is what sealing takes out of an event (secrecy.py), and a few names more that others give to theirs.
"""

import re
from functools import lru_cache

from .secrecy import SECRET_NAMES

#: PHP reads a dot or a space of a name as an underscore, and a space may stand there in two codings.
_UNDERSCORE = r"(?:[_.+\x20]|%20)"

_LISTED = "|".join(name.replace("_", _UNDERSCORE) for name in sorted(SECRET_NAMES))

#: What ends so is a secret wherever it stands. `auth` is a parameter of the REST API, and a table in an event.
_NAME = rf"(?: {_LISTED} | token | secret | password | passwd | api[-_]?key | (?: (?<![a-z]) | %5B ) (?P<auth> auth ) )"

#: Behind the name: what closes it in a path, further steps of the path, and quotes of one or another text. Bounded, as
#: a name stands in each step of a hostile path, and each would be looked at from there to the path's end.
_CLOSED = r"(?: _* (?: \] | %5D | (?:\[|%5B) [^\[\]=&%\s]* (?:\]|%5D) | \\*[\"'] | %22 | %27 ){0,32} )"

#: Between a name and its value. A comma stands there in a list of pairs, whose names are in quotes.
_BETWEEN = r"\s* (?: = | : | %3D | %3A | (?<=[\"']) \)?, (?=\s*b?[\"']) ) \s*"

#: A value is a list or a table, or stands in quotes, or ends where most texts go on.
_VALUE = r"""(?:
    (?(auth) (?!) | [\[({] [^\])}]* ) | b? (?P<quote> \\*["'] ) (?: (?! (?P=quote) ) . )* | [^\s"'&,;)}\]{\[]+
)"""

_NAMED = re.compile(rf"(?ix) (?P<kept> {_NAME} {_CLOSED} {_BETWEEN} ) {_VALUE}")
_BEARER = re.compile(r"(?i)\b(bearer|basic|apikey)((?:\s|%20)+)[\w.~+/=-]{8,}")
#: The URL of an incoming webhook: /rest/<user>/<secret>/method.
_WEBHOOK = re.compile(r"(?i)(/rest/\d+/)[a-z0-9]{8,}")
#: user:password@host in a URL.
_URL_PASSWORD = re.compile(r"(://[^\s/:@]{0,200}:)[^\s/@]{1,200}@")

#: Texts without any of these are nearly all, and need no closer look.
_FIRST_WORDS = sorted({name.partition("_")[0] for name in SECRET_NAMES})
_HINT = re.compile(rf"(?i){'|'.join(_FIRST_WORDS)}|token|secret|passw|api[-_]?key|auth|bearer|basic|/rest/|://")

_NAME_ALONE = re.compile(rf"(?ix) .* {_NAME} _*")

#: A name is looked at from its end. The words of log lines are a few hundred.
_NAME_CHARS = 64
_NAMES_REMEMBERED = 1024


def without_secrets(text: str) -> str:
    """The text with `***` for each token, password and webhook key that can be told by its surroundings."""
    if _HINT.search(text) is None:
        return text
    text = _NAMED.sub(_hide, text)
    text = _BEARER.sub(r"\1\2***", text)
    text = _WEBHOOK.sub(r"\1***", text)
    return _URL_PASSWORD.sub(r"\1***@", text)


def names_a_secret(name: str) -> bool:
    """Whether what has this name, alone and not at the end of a path, is to be hidden."""
    return _ends_as_one(name[-_NAME_CHARS:])


@lru_cache(_NAMES_REMEMBERED)
def _ends_as_one(name: str) -> bool:
    return _NAME_ALONE.fullmatch(name) is not None


def _hide(found: re.Match[str]) -> str:
    return f"{found['kept']}{found['quote'] or ''}***"
