"""The shape of a database's URL: what is told when it can't be read, and nothing of which is quoted."""

import re

#: A password with these in it moves the ends of user, host and database, which then stand in errors.
_MISLEADING = re.compile(r"\w+://([^@]*@[^?]*@|[^@/?]*[/?][^?=]*@|[^@]*[\[\]][^@]*@)")


def is_misleading(url: str) -> bool:
    """Whether the URL seems to hold a password with characters that stand for something else in a URL."""
    return _MISLEADING.match(url) is not None


def shape(scheme: str, port: int) -> str:
    """How the setting is to be written."""
    return (
        f"queue_url: write {scheme}://user:password@host:{port}/database, with %40 for @ in a password, %3A for :, "
        "%2F for /, %3F for ?, %25 for %, and so on"
    )
