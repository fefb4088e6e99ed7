"""The settings that both sides of the queue share. Read from the environment in console/settings.py, and only there."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

#: Kafka's rule for a topic, with room for our longest suffix; the other queues take it too.
TOPIC = r"^[A-Za-z0-9._-]{1,200}$"

#: A property of librdkafka whose name has one of these words in it is never shown.
_SECRET_WORDS = ("password", "secret", "token", "key")


def _hidden(given: object) -> object:
    if not isinstance(given, dict):
        return given
    if faults := [_no_value(name, value) for name, value in given.items() if not _is_value(value)]:
        raise ValueError("; ".join(faults))
    return {name: SecretStr(str(value)) if _is_secret(name, value) else value for name, value in given.items()}


def _is_value(value: object) -> bool:
    return isinstance(value, str | int | SecretStr)


def _no_value(name: object, value: object) -> str:
    if isinstance(value, dict):
        return f'{name} is a table: write the property\'s whole name in quotes, as in "{name}.{next(iter(value), "…")}"'
    return f"{name} should be text, a whole number, true or false"


def _is_secret(name: object, value: object) -> bool:
    # A password may be all digits, and then comes as a number.
    return isinstance(value, str | int) and any(word in str(name).lower() for word in _SECRET_WORDS)


class QueueSettings(BaseModel):
    """Which queue, and what is in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Annotated[Path, Field(description="embedded queue, spool, local stores")] = Path("forebay-data")
    queue_url: Annotated[str, Field(description="which queue; by default SQLite in data_dir")] = ""
    topic: Annotated[str, Field(description="name of the stream", pattern=TOPIC)] = "bitrix24.events"
    partitions: Annotated[int, Field(description="of a stream, when it is made", ge=1, le=10_000)] = 12
    group: Annotated[str, Field(description="consumer group", pattern=TOPIC)] = "forebay"
    session_s: Annotated[float, Field(description="a worker silent for so long has lost its partitions", ge=1)] = 10.0
    kafka: Annotated[
        dict[str, str | bool | int | SecretStr],
        BeforeValidator(_hidden),
        Field(description="properties of librdkafka, passed through"),
    ] = {}
    group_instance_id: Annotated[
        str, Field(description="Kafka: a worker that comes back under this name keeps its partitions")
    ] = ""
    retention_h: Annotated[
        float, Field(description="SQL: keep events that every group has finished so many hours", ge=0)
    ] = 168.0

    @model_validator(mode="before")
    @classmethod
    def _sqlite_in_data_dir(cls, given: object) -> object:
        if isinstance(given, dict) and not given.get("queue_url"):
            folder = given.get("data_dir") or cls.model_fields["data_dir"].default
            return {**given, "queue_url": f"sqlite:///{folder}/queue.db"}
        return given
