"""Which object an event is about, and whether it tells of a change, so that a later event can stand for it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from forebay.schemas.bitrix24.codes import known_code
from forebay.schemas.event import PortalEvent
from forebay.schemas.tree import Node

#: The ends of codes that say what happened; what stands before them is the family.
_ADDED = ("ADD", "REGISTER")
_DELETED = ("DELETE", "DELETED", "UNREGISTER")
_CHANGED = ("UPDATE", "MOVETOCATEGORY", "SETSTATUS", "SETENUMVALUES", "ENTITYSAVED")

_CODE = re.compile(r"(.+?)({})(_\d+)?".format("|".join((*_CHANGED, *_DELETED, *_ADDED))))

_STEP = re.compile(r"\[([^\]]*)\]")

#: The documented id is the task's, of which many comments may change at once; and a comment of the new task card has
#: the id 0 and that of a chat message.
_OWN_IDS = {
    f"ONTASKCOMMENT{what}": ("data[FIELDS_AFTER][TASK_ID]", "data[FIELDS_AFTER][ID]", "data[FIELDS_AFTER][MESSAGE_ID]")
    for what in ("ADD", "UPDATE", "DELETE")
}

#: What an id is unique within, where it is (smart processes).
_TYPE = "data[FIELDS][ENTITY_TYPE_ID]"

#: Names come from outside, so what was looked up is remembered up to a number of names only.
_REMEMBERED = 4096


class Role(Enum):
    """What an event tells of its object."""

    ADDED = "added"
    CHANGED = "changed"
    DELETED = "deleted"

    def may_fold_into(self, later: "Role") -> bool:
        """Whether the next event about the object can stand for this one: only for a change, and not as an add."""
        return self is Role.CHANGED and later is not Role.ADDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an event is about, as a text that is the same for all events about it, and what it tells."""

    key: str
    role: Role


def subject(event: PortalEvent) -> Subject | None:
    """The object of an event of a documented code; None when it names none, or several."""
    told = _told(event.name) if event.kind == "event" else None
    if told is None:
        return None
    family, role, paths = told
    data = event.data
    ids = [_at(data, path) for path in paths]
    if not ids[0]:
        return None
    return Subject(key=" ".join((family, *(one or "" for one in ids))), role=role)


@lru_cache(_REMEMBERED)
def _told(name: str) -> tuple[str, Role, tuple[tuple[str, ...], ...]] | None:
    code, match = known_code(name), _CODE.fullmatch(name)
    if code is None or match is None or not code.id_path or "[n]" in code.id_path:
        return None
    family, end, _ = match.groups()
    role = Role.CHANGED if end in _CHANGED else Role.DELETED if end in _DELETED else Role.ADDED
    paths = (*_OWN_IDS.get(name, (code.id_path,)), _TYPE)
    return family, role, tuple(tuple(_STEP.findall(path)) for path in paths)


def _at(node: Node, path: tuple[str, ...]) -> str | None:
    for step in path:
        if not isinstance(node, Mapping):
            return None
        node = node.get(step, "")
    return node if isinstance(node, str) else None
