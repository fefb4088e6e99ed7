"""What tests of workers read out of events and letters."""

from typing import Any

from forebay import PortalEvent
from forebay.queues.contract import Record

TOPIC = "bitrix24.events"


def id_of(event: PortalEvent) -> int:
    """The number of the object that the event is about."""
    data: Any = event.data
    return int(data["FIELDS"]["ID"])


def said(letter: Record, name: str) -> str:
    """One header of a letter."""
    return dict(letter.headers)[name].decode()
