"""A setting as text, without what is secret in it."""

import re

from pydantic import SecretBytes, SecretStr

#: Where a URL has a password: before the host, and for PostgreSQL as a parameter too.
_IN_URL = re.compile(r"(://[^:@/]*):.*@")
_IN_QUERY = re.compile(r"([?&](?:ssl)?password=)[^&]*")


def masked(value: object) -> str:
    """The value as text, with `***` for each secret in it."""
    if isinstance(value, SecretStr | SecretBytes):
        return "***"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {masked(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(masked(item) for item in value) + "]"
    if hasattr(value, "model_fields_set"):
        return "{" + ", ".join(f"{key}: {masked(item)}" for key, item in dict(value).items()) + "}"  # type: ignore[call-overload]  # a pydantic model iterates over its pairs
    return _without_password(str(value)) if isinstance(value, str) else str(value)


def _without_password(text: str) -> str:
    return _IN_QUERY.sub(r"\1***", _IN_URL.sub(r"\1:***@", text))
