"""What Forebay asks of a schema registry."""

from typing import Protocol


class Registry(Protocol):
    """Gives schemas ids. Used on one event loop, which no question blocks; concurrent questions are fine.

    Each question is put once, and raises `RegistryUnavailable` or `RegistryRefused` and nothing else.
    """

    async def schema_of(self, schema_id: int) -> str | None:
        """The schema that has this id; None when the registry says that none has."""

    async def id_of(self, subject: str, schema: str) -> int | None:
        """The id of the schema, by its very text, in the subject; None when it isn't there."""

    async def register(self, subject: str, schema: str) -> int:
        """Put the schema into the subject, if it isn't there yet; gives its id."""

    async def is_compatible(self, subject: str, schema: str) -> bool:
        """Whether the subject would take the schema; one that has none yet takes any."""

    async def close(self) -> None:
        """Let go of the connections. Idempotent."""
