"""The one place where settings are read: `forebay.toml`, then the environment, then the command line."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from forebay.ingest.settings import IngestSettings, checked_address, is_on_loopback
from forebay.processors.settings import WorkerSettings
from forebay.queues.bad_settings import BadSettings, faults_in
from forebay.queues.errors import QueueError
from forebay.queues.opening import check_url, faults_of, why_no_portals

from .masking import masked
from .settings_sources import Sources

#: How a setting that is a list or a table is written, in JSON as in the environment.
_SHAPES = {
    "endpoints": '[{"path": "/bitrix24", "auth": "tokens", "tokens": {"*": "<token>"}}]',
    "tokens": '{"<portal, member_id or *>": "<token>"}',
    "callers": '{"allow": ["203.0.113.0/24"], "trusted_proxies": ["127.0.0.1"]}',
    "seal_keys": '{"<key id>": "<32 bytes in base64>"}',
    "kafka": '{"<property of librdkafka>": "<value>"}',
    "schema_registry": '{"<property of the client>": "<value>"}',
    "auth": '"tokens", or ["tokens", "url-secret"]',
}

#: Nothing but its length keeps whoever may ask again and again from finding a password.
_PASSWORD_CHARS = 16


class Settings(IngestSettings, WorkerSettings):
    """Every setting of every room."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    web_bind: Annotated[str, Field(description="address of the operators' page, host:port")] = "127.0.0.1:8090"
    web_password: Annotated[
        SecretStr | None, Field(description="who sees that page has to give it; needed where it is not on loopback")
    ] = None

    @field_validator("web_bind")
    @classmethod
    def _check_web_bind(cls, bind: str) -> str:
        return checked_address(bind)

    @field_validator("web_password")
    @classmethod
    def _check_web_password(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if password is None and not is_on_loopback(info.data.get("web_bind")):
            raise ValueError("events are personal data; set it where web_bind is not on loopback")
        if password is not None and len(password.get_secret_value()) < _PASSWORD_CHARS:
            raise ValueError(f"must have {_PASSWORD_CHARS} characters or more; nobody has to remember it")
        return password

    @field_validator("queue_url")
    @classmethod
    def _check_queue_url(cls, queue_url: str) -> str:
        try:
            check_url(queue_url)
        except QueueError as error:
            raise ValueError(str(error).removeprefix("queue_url: ")) from error
        return queue_url

    @field_validator("kafka")
    @classmethod
    def _check_kafka(cls, kafka: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        # Without a queue_url that can be used it is not known whether anybody will read it.
        if faults := faults_of(info.data["queue_url"], kafka) if "queue_url" in info.data else []:
            raise ValueError("; ".join(faults))
        return kafka

    @field_validator("seal_keys")
    @classmethod
    def _check_portals_are_kept(cls, keys: dict[str, SecretStr], info: ValidationInfo) -> dict[str, SecretStr]:
        # Whoever says auth=registry has seal_keys, or is told already that they are missing.
        if keys and "queue_url" in info.data and (reason := why_no_portals(info.data["queue_url"])):
            raise ValueError(f"{reason}; use another queue_url, or neither auth=registry nor seal_keys")
        return keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings, and for each that was given the place it came from."""

    settings: Settings
    sources: Mapping[str, str]
    #: As they were written, secrets included: another process makes the same settings of them.
    given: Mapping[str, object]

    def shown(self) -> dict[str, tuple[str, str]]:
        """Name → (value as text, secrets masked; where it came from)."""
        return {
            name: (masked(getattr(self.settings, name)), self.sources.get(name, "default"))
            for name in type(self.settings).model_fields
        }


def load_settings(
    config: Path | None = None,
    options: Mapping[str, object] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Loaded:
    """The effective settings. An option that is None was not given. Raises `BadSettings` with every fault at once."""
    written = Sources(fields=Settings.model_fields)
    written.read(config, environ, options or {})
    given = {name: one.value for name, one in written.given.items()}
    sources = {name: one.source for name, one in written.given.items()}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise BadSettings(written.faults + faults_in(error, Settings.model_fields, sources, _SHAPES)) from None
    except FileNotFoundError:
        gone = "data_dir: the working directory, which it is in, was deleted; go to its new one, or give a whole path"
        raise BadSettings([*written.faults, gone]) from None
    if written.faults:
        raise BadSettings(written.faults)
    return Loaded(settings=settings, sources=sources, given=given)
