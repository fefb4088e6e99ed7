"""Errors are kept and logged, and an error's text is the handler's: what looks like a secret is taken out of it."""

import re

#: A name that ends as a secret's does, what may stand between it and the value, and the value.
_NAMED = re.compile(
    r"""(?ix)
    ( (?: token | secret | password | passwd | api_key | (?: auth | refresh )_id | (?: (?<![a-z]) | %5B ) auth )
    (?: \] | %5D | ["'] )* \s* (?: = | : | %3D ) \s* ["']? )
    [^\s"'&,;)}\]{\[]+ """
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
#: The URL of an incoming webhook: /rest/<user>/<secret>/method.
_WEBHOOK = re.compile(r"(?i)(/rest/\d+/)[a-z0-9]{8,}")
#: user:password@host in a URL.
_URL_PASSWORD = re.compile(r"(://[^\s/:@]{0,200}:)[^\s/@]{1,200}@")


def without_secrets(text: str) -> str:
    """The text with `***` for each token, password and webhook key that can be told by its surroundings."""
    text = _NAMED.sub(r"\1***", text)
    text = _BEARER.sub(r"\1 ***", text)
    text = _WEBHOOK.sub(r"\1***", text)
    return _URL_PASSWORD.sub(r"\1***@", text)
