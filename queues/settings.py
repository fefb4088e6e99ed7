"""The settings that both sides of the queue share. Read from the environment in console/settings.py, and only there."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

#: Kafka's rule for a topic, with room for our longest suffix; the other queues take it too.
TOPIC = r"^[A-Za-z0-9._-]{1,200}$"

#: A property of a client whose name has one of these words in it is never shown.
_SECRET_WORDS = ("password", "secret", "token", "key", "user.info")


def _hidden(given: object) -> object:
    return _checked(given, (str, int, SecretStr), "text, a whole number, true or false")


def _hidden_with_fractions(given: object) -> object:
    return _checked(given, (str, int, float, SecretStr), "text, a number, true or false")


def _checked(given: object, kinds: tuple[type, ...], told: str) -> object:
    if not isinstance(given, dict):
        return given
    if faults := [_no_value(name, value, told) for name, value in given.items() if not isinstance(value, kinds)]:
        raise ValueError("; ".join(faults))
    return {name: SecretStr(str(value)) if _is_secret(name, value) else value for name, value in given.items()}


def _no_value(name: object, value: object, told: str) -> str:
    if isinstance(value, dict):
        return f'{name} is a table: write the property\'s whole name in quotes, as in "{name}.{next(iter(value), "…")}"'
    return f"{name} should be {told}"


def _is_secret(name: object, value: object) -> bool:
    # A password may be all digits, and then comes as a number.
    return isinstance(value, str | int) and any(word in str(name).lower() for word in _SECRET_WORDS)


def _registry_url(given: str | None) -> str | None:
    """One registry's addresses, by commas, as its client takes them. No fault quotes one: it may hold a password."""
    for address in given.split(",") if given else ():
        _check_registry(address.strip())
    return given or None


def _check_registry(address: str) -> None:
    try:
        parts = urlsplit(address)
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_http = False
    if not is_http:
        raise ValueError("must start with http:// or https:// and name a host, as in http://registry:8081") from None
    if "@" in parts.netloc:
        raise ValueError('user and password go into schema_registry: {"basic.auth.user.info": "user:password"}')
    if parts.query or parts.fragment:
        raise ValueError("takes no ? and no #; Apicurio's ends with /apis/ccompat/v7, Confluent's has no path")


def from_here(url: str) -> str:
    """The URL, with an SQLite file's whole path: what changes the working directory later must not change the file."""
    scheme, slashes, path = url.partition(":///")
    is_file = scheme.partition("+")[0] == "sqlite" and path and path != ":memory:"
    return f"{scheme}{slashes}{Path(path).absolute()}" if is_file else url


class QueueSettings(BaseModel):
    """Which queue, and what is in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Annotated[
        Path,
        AfterValidator(Path.absolute),
        Field(description="embedded queue, spool, local stores", validate_default=True),
    ] = Path("forebay-data")
    queue_url: Annotated[
        str, AfterValidator(from_here), Field(description="which queue; by default SQLite in data_dir")
    ] = ""
    topic: Annotated[str, Field(description="name of the stream", pattern=TOPIC)] = "bitrix24.events"
    partitions: Annotated[int, Field(description="of a stream, when it is made", ge=1, le=10_000)] = 12
    group: Annotated[str, Field(description="consumer group", pattern=TOPIC)] = "forebay"
    # See `FARTHEST_MS` of groups/leaps.py.
    session_s: Annotated[
        float, Field(description="a worker silent for so long has lost its partitions", ge=1, le=300)
    ] = 10.0
    kafka: Annotated[
        dict[str, str | bool | int | SecretStr],
        BeforeValidator(_hidden),
        Field(description="properties of librdkafka, passed through"),
    ] = {}
    schema_registry_url: Annotated[
        str | None,
        AfterValidator(_registry_url),
        Field(description="write Confluent's wire format, with the schema's id from this registry"),
    ] = None
    schema_registry: Annotated[
        dict[str, str | bool | int | float | SecretStr],
        BeforeValidator(_hidden_with_fractions),
        Field(description="properties of the registry's client, passed through"),
    ] = {}
    group_instance_id: Annotated[
        str, Field(description="Kafka: a worker that comes back under this name keeps its partitions")
    ] = ""
    retention_h: Annotated[
        float, Field(description="SQL, Redis: keep events that every group has finished so many hours", ge=0)
    ] = 168.0

    @model_validator(mode="before")
    @classmethod
    def _sqlite_in_data_dir(cls, given: object) -> object:
        if isinstance(given, dict) and not given.get("queue_url"):
            folder = given.get("data_dir") or cls.model_fields["data_dir"].default
            return {**given, "queue_url": f"sqlite:///{folder}/queue.db"}
        return given
