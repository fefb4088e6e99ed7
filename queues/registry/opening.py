"""From the settings to a registry. Its client, which brings an HTTP library, is imported only where one is set."""

from pydantic import SecretStr

from forebay.queues.settings import QueueSettings

from .contract import Registry
from .errors import BadRegistrySettings

#: How long we wait for an answer, unless the table has a `timeout`.
_TIMEOUT_S = 5.0

#: We try again ourselves, and tell meanwhile why nothing comes.
_OURS = {"max.retries": 0}


def open_registry(settings: QueueSettings) -> Registry | None:
    """The registry of the setting `schema_registry_url`, not connected yet; None where none is set.

    Raises `BadRegistrySettings`.
    """
    if settings.schema_registry_url is None:
        return None
    from .client import RegistryClient

    passed = {name: _plain(value) for name, value in settings.schema_registry.items()}
    if "url" in passed:
        raise BadRegistrySettings("schema_registry: url can't be set here; write it into schema_registry_url")
    try:
        timeout_s = _patience(passed.pop("timeout", _TIMEOUT_S))
        return RegistryClient({**_OURS, **passed, "url": settings.schema_registry_url}, timeout_s=timeout_s)
    except (ValueError, TypeError) as error:
        raise BadRegistrySettings(f"schema_registry: {error}") from error
    except OSError as error:
        files = ", ".join(f"{name} = {value}" for name, value in passed.items() if name.endswith(".location"))
        raise BadRegistrySettings(f"schema_registry: {error.strerror or error}: {files}") from error


def _patience(timeout: str | bool | int | float) -> float:
    if not (timeout_s := float(timeout)) > 0:
        raise ValueError(f"timeout is {timeout}, and no registry answers in no time; give seconds, or leave it out")
    return timeout_s


def _plain(value: str | bool | int | float | SecretStr) -> str | bool | int | float:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
