"""The root of Forebay's errors, and those of reading a record."""


class ForebayError(Exception):
    """Something in Forebay went wrong; the message says what to do about it."""


class UndecodableEvent(ForebayError):
    """These bytes are not a record that Forebay wrote, or were written by a newer version of it."""


class UnknownSchemaId(UndecodableEvent):
    """The schema has an id of a schema registry that the codec was not taught; its `learn` may make it readable."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(
            f"the record's schema has the id {schema_id} of a schema registry, and is none that is known here "
            "(setting schema_registry_url)"
        )
        self.schema_id = schema_id
