"""A schema registry, by the client of confluent-kafka."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from confluent_kafka.schema_registry import AsyncSchemaRegistryClient, Schema, SchemaRegistryError

from forebay.schemas.codec import MAX_SCHEMA_ID

from .errors import NotThere
from .faults import no_registry, of_answer, of_failure, silent

T = TypeVar("T")


class RegistryClient:
    """As in the contract."""

    def __init__(self, properties: Mapping[str, object], *, timeout_s: float) -> None:
        self._client = AsyncSchemaRegistryClient(dict(properties))
        self._timeout_s = timeout_s

    async def schema_of(self, schema_id: int) -> str | None:
        """As in the contract."""
        # Who asks again does so because the answer may be another one, as from a registry whose backup was put back.
        await self._client.clear_caches()  # type: ignore[no-untyped-call]
        found = await self._there(self._client.get_schema(schema_id))
        return None if found is None else found.schema_str or ""

    async def id_of(self, subject: str, schema: str) -> int | None:
        """As in the contract."""
        found = await self._there(self._client.lookup_schema(subject, _avro(schema)))
        return None if found is None else _number(found.schema_id)

    async def register(self, subject: str, schema: str) -> int:
        """As in the contract."""
        return _number(await self._answer(self._client.register_schema(subject, _avro(schema))))

    async def is_compatible(self, subject: str, schema: str) -> bool:
        """As in the contract."""
        return await self._there(self._client.test_compatibility(subject, _avro(schema))) is not False

    async def close(self) -> None:
        """As in the contract."""
        await self._client.aclose()

    async def _there(self, asked: Awaitable[T]) -> T | None:
        try:
            return await self._answer(asked)
        except NotThere:
            return None

    async def _answer(self, asked: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asked
        except SchemaRegistryError as error:
            raise of_answer(error) from error
        except TimeoutError as error:
            raise silent(self._timeout_s) from error
        # The client lets through what its parts raise: of HTTP, TLS, JSON, tokens.
        except Exception as error:
            raise of_failure(error) from error


def _avro(schema: str) -> Schema:
    return Schema(schema, "AVRO")


def _number(schema_id: object) -> int:
    if not isinstance(schema_id, int) or not 0 <= schema_id <= MAX_SCHEMA_ID:
        raise no_registry()
    return schema_id
