"""Between a registry and a codec: which ids are those of our schemas."""

from forebay.schemas import names
from forebay.schemas.codec import Codec
from forebay.schemas.errors import UndecodableEvent
from forebay.schemas.versions import schema_texts

from .contract import Registry


class MissingSchema(UndecodableEvent):
    """The registry says that no schema has the id. One that was given a moment ago may not be everywhere yet."""


class Teacher:
    """Teaches a codec a registry's ids. Raises what the registry does, and `UndecodableEvent` where one is not ours."""

    def __init__(self, codec: Codec, registry: Registry, topic: str) -> None:
        self._codec, self._registry = codec, registry
        self._subject = names.value_subject(topic)

    async def teach(self, schema_id: int) -> None:
        """Ask whose schema has the id; afterwards the codec decodes its records, if it is one of ours."""
        schema = await self._registry.schema_of(schema_id)
        if schema is None:
            raise MissingSchema(f"the schema registry knows no schema with the record's id {schema_id}")
        if not self._codec.learn(schema_id, schema):
            raise UndecodableEvent(f"the record's schema, id {schema_id} of the registry, is none that is known here")

    async def teach_own(self) -> None:
        """Look for our own schemas in the topic's subject, so that their records need no question later."""
        for schema in schema_texts():
            schema_id = await self._registry.id_of(self._subject, schema)
            if schema_id is not None:
                self._codec.learn(schema_id, schema)

    async def register(self) -> int:
        """Have the newest schema in the subject, from now on encode with its id, and give it.

        It is put there only when it isn't there yet: whoever may only read a registry can be given it by others.
        """
        newest = schema_texts()[-1]
        schema_id = await self._registry.id_of(self._subject, newest)
        if schema_id is None:
            schema_id = await self._registry.register(self._subject, newest)
        self._codec.write_with(schema_id)
        return schema_id
