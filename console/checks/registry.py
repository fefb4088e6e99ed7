"""What `forebay doctor` looks at in the schema registry."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from forebay.queues.findings import Finding
from forebay.queues.registry.errors import RegistryError
from forebay.queues.registry.opening import open_registry
from forebay.schemas import names
from forebay.schemas.versions import schema_texts

if TYPE_CHECKING:
    from forebay.queues.registry.contract import Registry
    from forebay.queues.settings import QueueSettings

_CHECK = "schema registry"

#: A new installation, or a registry that knows nothing any more.
_NOT_YET = (
    "the ingest puts it there when it starts; if one has done so before, the registry is another one, or has lost what "
    "it had: start nothing anew before it has its former ids again, as docs/record.md says"
)


async def registry_findings(settings: "QueueSettings") -> AsyncIterator[Finding]:
    """Whether it is there, has our schema, or would take it. Nothing where none is set; nothing is changed."""
    try:
        registry = open_registry(settings)
        if registry is None:
            return
        try:
            yield await _looked_at(registry, names.value_subject(settings.topic))
        finally:
            await registry.close()
    except RegistryError as error:
        detail, _, remedy = str(error).partition("; ")
        yield Finding(check=_CHECK, state="fail", detail=detail, remedy=remedy)


async def _looked_at(registry: "Registry", subject: str) -> Finding:
    newest = schema_texts()[-1]
    schema_id = await registry.id_of(subject, newest)
    if schema_id is not None:
        return Finding(check=_CHECK, state="ok", detail=f"reached; {subject} has our schema, with id {schema_id}")
    if await registry.is_compatible(subject, newest):
        detail = f"reached; {subject} does not have our schema"
        return Finding(check=_CHECK, state="warn", detail=detail, remedy=_NOT_YET)
    detail = f"{subject} holds a schema that ours is not compatible with, so events are written without its id"
    remedy = "set another topic if it is somebody else's, or the subject's compatibility to BACKWARD if it is ours"
    return Finding(check=_CHECK, state="fail", detail=detail, remedy=remedy)
