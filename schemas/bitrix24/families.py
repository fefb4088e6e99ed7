"""The common events with types: `Deal.of(event).id` is a number.

Bitrix24 sends text only, and each family in its own way. What is here is what a handler needs of most events; all the
rest is where it was: in `event.data` and `event.fields`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

from forebay.schemas.errors import UndecodableEvent
from forebay.schemas.event import PortalEvent
from forebay.schemas.tree import Node

#: What JavaScript calls a thing that is not there; Bitrix24 sends the word (docs, events of tasks).
_UNDEFINED = "undefined"

#: As many as an id of 64 bits has. A text of thousands of digits is no number of Bitrix24's, and costs much to read.
_MOST_DIGITS = 19


class Change(StrEnum):
    """What became of an object."""

    ADDED = "added"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    """An object was added, updated or deleted. Bitrix24 sends its id and nothing else: ask the portal for the rest."""

    #: The names of the family's events, in the order of `Change`.
    names: ClassVar[tuple[str, str, str]]

    event: PortalEvent
    id: int
    change: Change

    @classmethod
    def of(cls, event: PortalEvent) -> Self:
        """The event with types. Raises `UndecodableEvent` when it is another family's, or has no id."""
        changes = dict(zip(cls.names, Change, strict=True))
        change = changes[_of_family(event, cls.names)]
        return cls(event=event, id=cls._id(event), change=change)

    @classmethod
    def _id(cls, event: PortalEvent) -> int:
        return _number(event, "FIELDS", "ID")


class Deal(_Object):
    """A deal was added, updated or deleted."""

    ADD = "ONCRMDEALADD"
    UPDATE = "ONCRMDEALUPDATE"
    DELETE = "ONCRMDEALDELETE"
    names = (ADD, UPDATE, DELETE)


class Lead(_Object):
    """A lead was added, updated or deleted."""

    ADD = "ONCRMLEADADD"
    UPDATE = "ONCRMLEADUPDATE"
    DELETE = "ONCRMLEADDELETE"
    names = (ADD, UPDATE, DELETE)


class Contact(_Object):
    """A contact was added, updated or deleted."""

    ADD = "ONCRMCONTACTADD"
    UPDATE = "ONCRMCONTACTUPDATE"
    DELETE = "ONCRMCONTACTDELETE"
    names = (ADD, UPDATE, DELETE)


class Task(_Object):
    """A task was added, updated or deleted."""

    ADD = "ONTASKADD"
    UPDATE = "ONTASKUPDATE"
    DELETE = "ONTASKDELETE"
    names = (ADD, UPDATE, DELETE)

    @classmethod
    def _id(cls, event: PortalEvent) -> int:
        # One of the two is the word `undefined`: a new task had no fields before, a deleted one has none after.
        side = "FIELDS_BEFORE" if _at(event, "FIELDS_AFTER", "ID") is None else "FIELDS_AFTER"
        return _number(event, side, "ID")


@dataclass(frozen=True, slots=True, kw_only=True)
class BotMessage:
    """Somebody wrote to a bot: the same for bots of the first version and of the second."""

    V1 = "ONIMBOTMESSAGEADD"
    V2 = "ONIMBOTV2MESSAGEADD"
    names: ClassVar[tuple[str, str]] = (V1, V2)

    event: PortalEvent
    id: int
    bot_id: int
    #: Where an answer goes: a user's id, or `chat` and the chat's.
    dialog_id: str
    author_id: int
    text: str

    @classmethod
    def of(cls, event: PortalEvent) -> Self:
        """The event with types. Raises `UndecodableEvent` when it is another family's, or without its ids."""
        if _of_family(event, cls.names) == cls.V2:
            return cls(
                event=event,
                id=_number(event, "message", "id"),
                bot_id=_number(event, "bot", "id"),
                dialog_id=_word(event, "chat", "dialogId"),
                author_id=_number(event, "message", "authorId"),
                text=_text(event, "message", "text") or "",
            )
        return cls(
            event=event,
            id=_number(event, "PARAMS", "MESSAGE_ID"),
            bot_id=_number(event, "BOT", _only_key(event, "BOT"), "BOT_ID"),
            dialog_id=_word(event, "PARAMS", "DIALOG_ID"),
            author_id=_number(event, "PARAMS", "FROM_USER_ID"),
            text=_text(event, "PARAMS", "MESSAGE") or "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A telephone call began or ended. What an event of the call doesn't tell is None."""

    INIT = "ONVOXIMPLANTCALLINIT"
    START = "ONVOXIMPLANTCALLSTART"
    END = "ONVOXIMPLANTCALLEND"
    #: A user asked for a call that an application of yours makes.
    EXTERNAL = "ONEXTERNALCALLSTART"
    names: ClassVar[tuple[str, str, str, str]] = (INIT, START, END, EXTERNAL)

    event: PortalEvent
    id: str
    phone: str | None
    user_id: int | None
    duration_s: int | None
    #: 200 when somebody answered, else why nobody did (304: missed).
    failed_code: str | None
    crm_activity_id: int | None

    @classmethod
    def of(cls, event: PortalEvent) -> Self:
        """The event with types. Raises `UndecodableEvent` when it is another family's, or of no call."""
        _of_family(event, cls.names)
        return cls(
            event=event,
            id=_word(event, "CALL_ID"),
            phone=_text(event, "PHONE_NUMBER"),
            user_id=_perhaps_number(event, "PORTAL_USER_ID" if event.name == cls.END else "USER_ID"),
            duration_s=_perhaps_number(event, "CALL_DURATION"),
            failed_code=_text(event, "CALL_FAILED_CODE"),
            crm_activity_id=_perhaps_number(event, "CRM_ACTIVITY_ID"),
        )


def _of_family(event: PortalEvent, names: tuple[str, ...]) -> str:
    if event.name not in names:
        raise UndecodableEvent(f"{event.name} is none of {', '.join(names)}; register the handler for these")
    return event.name


def _at(event: PortalEvent, *path: str) -> Node | None:
    here: Node | None = event.data
    for key in path:
        here = here.get(key) if isinstance(here, dict) else None
    return here


def _text(event: PortalEvent, *path: str) -> str | None:
    """What is there, unless it is empty."""
    found = _at(event, *path)
    return found if isinstance(found, str) and found not in ("", _UNDEFINED) else None


def _word(event: PortalEvent, *path: str) -> str:
    found = _text(event, *path)
    if found is None:
        raise UndecodableEvent(f"{event.name} has nothing at {_shown(path)}; event.data holds what was sent")
    return found


def _perhaps_number(event: PortalEvent, *path: str) -> int | None:
    found = _text(event, *path)
    if found is None or len(found) > _MOST_DIGITS or not (found.isascii() and found.isdecimal()):
        return None
    return int(found)


def _number(event: PortalEvent, *path: str) -> int:
    found = _perhaps_number(event, *path)
    if found is None:
        raise UndecodableEvent(f"{event.name} has no number at {_shown(path)}; event.data holds what was sent")
    return found


def _only_key(event: PortalEvent, name: str) -> str:
    """The key of a map that holds one thing under its id."""
    found = _at(event, name)
    return next(iter(found), "") if isinstance(found, dict) else ""


def _shown(path: tuple[str, ...]) -> str:
    return "data" + "".join(f"[{key}]" for key in path)
