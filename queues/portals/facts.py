"""How the facts are written: `<member_id>/<era>/<kind>/<part>` → a small JSON object.

Facts that several hosts may state at once never share a key with one that must outlive them: that a token was seen and
that it is proved are two facts. So no race, no repetition and no compaction can take back what was proved.

Each fact names its member's era. A portal that is forgotten gets a new era by a fact with the key `<member_id>`, and
what was said in another era is void, wherever in the log it stands. To take a void fact back can't harm a later one.
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from .contract import Fact

#: The kinds: a token was seen; it is proved; under which name the portal's events stand; a domain that it had; an
#: application was uninstalled; a key for its secrets; that such a key is gone for good, whoever tells of it later.
PIN, PROOF, HOME, DOMAIN, LEFT, DATA_KEY, SHREDDED = "pin", "proof", "home", "domain", "left", "datakey", "shredded"

#: Enough that no two names of one portal meet.
_NAME_BYTES = 8


class BadFact(ValueError):
    """This is no fact that we know how to read."""


class Key(NamedTuple):
    """What a fact is about."""

    member_id: str
    era: str
    kind: str
    part: str

    def text(self) -> str:
        """The key as it stands in the log."""
        return "/".join(self)


def fact(key: Key, said: Mapping[str, object]) -> Fact:
    """That this is so."""
    return Fact(key.text(), orjson.dumps(said))


def taken_back(key: Key) -> Fact:
    """That what was said under the key holds no more."""
    return Fact(key.text(), None)


def new_era(member_id: str, era: str) -> Fact:
    """From here on all that was said of the member before is void."""
    return Fact(member_id, orjson.dumps({"era": era}))


def key_in(text: str) -> Key | None:
    """The key as it stands in the log; None for that of an era."""
    parts = text.split("/", 3)
    return Key(*parts) if len(parts) == len(Key._fields) else None


def part_of(name: str) -> str:
    """The part of a key for a name that may be as long as a whole key, or hold any character."""
    return blake2b(name.encode(), digest_size=_NAME_BYTES).hexdigest()


def read(value: bytes) -> dict[str, Any]:
    """What a fact says. Raises `BadFact`."""
    try:
        said = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise BadFact("it is no JSON") from error
    if not isinstance(said, dict):
        raise BadFact("it is no JSON object")
    return said


def as_text(raw: bytes) -> str:
    """Bytes as JSON has them."""
    return b64encode(raw).decode("ascii")


def as_bytes(text: str) -> bytes:
    """The bytes of such a text. Raises `BadFact`."""
    try:
        return b64decode(text, validate=True)
    except (NotBase64, ValueError) as error:
        raise BadFact("it is not base64") from error
