"""What may be deleted, and when."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Of which stream records are deleted, how old they must be, and how often a consumer looks."""

    stream: str
    keep_ms: int
    every_s: float = 60.0
