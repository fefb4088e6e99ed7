"""Forebay: the incoming queue for Bitrix24 events.

The public API for handler authors; everything else is reached through its room (`forebay.ingest`, `forebay.queues`, …).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forebay.processors.budgets import Budget
    from forebay.processors.errors import Reject, Retry
    from forebay.processors.handlers import Handlers
    from forebay.schemas.event import PortalEvent

__all__ = ["Budget", "Handlers", "PortalEvent", "Reject", "Retry"]

_HOME = {
    "Budget": "forebay.processors.budgets",
    "Handlers": "forebay.processors.handlers",
    "PortalEvent": "forebay.schemas.event",
    "Reject": "forebay.processors.errors",
    "Retry": "forebay.processors.errors",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `import forebay` stays cheap."""
    if name not in _HOME:
        raise AttributeError(f"module 'forebay' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
