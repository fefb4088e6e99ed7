"""Whatever outlives the process that wrote it, as bytes: how it is written, how it is read, and what it means."""

from .events import EVENTS
from .groups import GROUPS
from .sample import Format
from .stores import STORES

FORMATS: dict[str, Format] = EVENTS | GROUPS | STORES
