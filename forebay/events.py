"""The common Bitrix24 events with types: `from forebay.events import Deal`."""

from forebay.schemas.bitrix24.families import BotMessage, Call, Change, Contact, Deal, Lead, Task

__all__ = ["BotMessage", "Call", "Change", "Contact", "Deal", "Lead", "Task"]
