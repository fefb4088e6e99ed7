"""Which fields are secret, by their name.

Source: bitrix24/b24restdocs, the pages on security, events, bots and robots. The list is in docs for users too.
"""

import re
from enum import Enum
from functools import lru_cache


class Secrecy(Enum):
    """What becomes of a field."""

    OPEN = "stays"
    SEALED = "is encrypted with a seal key, dropped without one"
    DROPPED = "is dropped after the check: no handler needs it, and whoever holds it is the portal or the application"


_DROPPED = frozenset({"application_token", "refresh_token", "refresh_id", "client_secret"})
_SEALED = frozenset({"access_token", "event_token", "auth_id"})

#: A bot's own id, as good as a token to it. Elsewhere the name is a customer's as often as not, and stays.
_SEALED_OF_BOT = "client_id"
_OF_BOT = frozenset({"auth", "bot", "command"})

#: Every name that is secret somewhere, for those who see a text and no path.
SECRET_NAMES = _DROPPED | _SEALED | {_SEALED_OF_BOT}

#: ONAPPMETHODCONFIRM brings a token under this plain name.
_SEALED_PATH = "data[token]"

_SEPARATORS = re.compile(r"[\[\]\0]+")

#: Names that portals send are a few hundred, and short. What is longer is looked at each time.
_REMEMBERED = 8192
_REMEMBERED_CHARS = 128


def secrecy_of(path: str) -> Secrecy:
    """The rule for a bracket path: any of its names counts, in any letter case. Time is linear in its length."""
    return _remembered(path) if len(path) <= _REMEMBERED_CHARS else _decide(path)


def _decide(path: str) -> Secrecy:
    # PHP reads a dot or a space of a name as an underscore.
    path = path.lower().replace(".", "_").replace(" ", "_")
    names = {name.strip("_") for name in _SEPARATORS.split(path)}
    if names & _DROPPED:
        return Secrecy.DROPPED
    if names & _SEALED or (_SEALED_OF_BOT in names and names & _OF_BOT) or path.strip("_") == _SEALED_PATH:
        return Secrecy.SEALED
    return Secrecy.OPEN


_remembered = lru_cache(maxsize=_REMEMBERED)(_decide)
