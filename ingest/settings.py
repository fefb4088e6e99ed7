"""The ingest's settings. They are read in console/settings.py, and only there."""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from forebay.queues.settings import QueueSettings
from forebay.schemas.data_keys import PREFIX

from .callers.networks import is_loopback
from .callers.settings import CallerSettings
from .endpoint_settings import (
    ClientId,
    EndpointSettings,
    Policies,
    Secrets,
    Tokens,
    checked_auth,
    checked_secrets,
    checked_tokens,
)

#: The endpoint that `auth`, `tokens` and `url_secret` are the short form for.
DEFAULT_PATH = "/bitrix24"

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")
_MAX_PORT = 65_535

#: AES-256.
_KEY_BYTES = 32

#: A longer one is no id that somebody chose; it may be a key that was cut or written with another alphabet.
_KEY_ID_CHARS = 32


class IngestSettings(QueueSettings):
    """Where calls come in, what proves them, and how much of them is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    bind: Annotated[str, Field(description="address of the ingest, host:port")] = "127.0.0.1:8080"
    metrics_bind: Annotated[str | None, Field(description="address of /metrics, when not that of the ingest")] = None
    ingest_processes: Annotated[int, Field(description="gunicorn workers", ge=1, le=256)] = 1
    endpoints: Annotated[
        tuple[EndpointSettings, ...], Field(description="list of {path, auth, tokens, secret}; default /bitrix24")
    ] = ()
    tokens: Tokens = Field(
        default_factory=dict, description="for the default endpoint: {portal or member_id or *: token}"
    )
    url_secret: Annotated[Secrets, Field(description="for the default endpoint: a secret in its URL, or several")] = ()
    client_id: ClientId = ""
    auth: Annotated[Policies, Field(description="for the default endpoint: tokens, url-secret, registry, none")] = ()
    callers: Annotated[
        CallerSettings, Field(description="{allow, allow_file, allow_url, refresh_s, trusted_proxies}: who may call")
    ] = CallerSettings()
    key: Annotated[Literal["domain", "member_id"], Field(description="what keeps a portal's events together")] = (
        "domain"
    )
    seal_keys: dict[str, SecretStr] = Field(
        default_factory=dict, description="{key id: 32 bytes base64}; the first seals, all open"
    )
    oauth_urls: Annotated[
        tuple[str, ...], Field(description="OAuth servers that are asked whose a token is, for registry", min_length=1)
    ] = ("https://oauth.bitrix24.tech/rest", "https://oauth.bitrix.info/rest")
    max_body_bytes: Annotated[int, Field(description="of a call; larger: 413", ge=1024)] = 1024 * 1024
    max_fields: Annotated[int, Field(description="of a form; more: quarantine", ge=16)] = 5000
    max_depth: Annotated[int, Field(description="brackets of a field; more: quarantine", ge=4, le=100)] = 20
    body_timeout_s: Annotated[float, Field(description="for a whole body; slower: 408", gt=0, le=60)] = 10.0
    keep_alive_s: Annotated[int, Field(description="an idle connection is closed after", ge=1, le=3600)] = 75
    ack_deadline_ms: Annotated[int, Field(description="unacknowledged for so long: to the spool", ge=1)] = 200
    spool_max_bytes: Annotated[int, Field(description="of events in the spool; more: 503", ge=1024 * 1024)] = 1024**3
    portal_rate: Annotated[
        float | None, Field(description="events a second of one portal; what is more waits in the spool", gt=0)
    ] = None
    drain_s: Annotated[float, Field(description="grace of running work at a stop", ge=0)] = 25.0

    _check_tokens = field_validator("tokens")(checked_tokens)
    _check_secret = field_validator("url_secret")(checked_secrets)

    @field_validator("bind", "metrics_bind")
    @classmethod
    def _check_bind(cls, bind: str | None) -> str | None:
        return bind and checked_address(bind)

    @field_validator("bind", "metrics_bind")
    @classmethod
    def _check_apart(cls, bind: str | None, info: ValidationInfo) -> str | None:
        # Whichever is looked at second sees the other: in the console's union with the worker's settings the order is
        # not the one here.
        other = info.data.get("metrics_bind" if info.field_name == "bind" else "bind")
        if bind and other and bind.rpartition(":")[2] == other.rpartition(":")[2]:
            raise ValueError("metrics_bind needs another port than bind; or leave it out, then bind has /metrics")
        return bind

    @field_validator("endpoints")
    @classmethod
    def _check_endpoints(
        cls, endpoints: tuple[EndpointSettings, ...], info: ValidationInfo
    ) -> tuple[EndpointSettings, ...]:
        paths = [endpoint.path for endpoint in endpoints]
        faults = [f"{path} is there twice" for path in sorted(set(paths)) if paths.count(path) > 1]
        if not is_on_loopback(info.data.get("bind")):
            faults += [f"{endpoint.path}: {_WRITE_AUTH}" for endpoint in endpoints if not endpoint.auth]
        if faults:
            raise ValueError("; ".join(faults))
        return endpoints

    @field_validator("auth")
    @classmethod
    def _check_auth(cls, auth: Policies, info: ValidationInfo) -> Policies:
        given = info.data
        if given.get("endpoints"):
            if auth or given.get("tokens") or given.get("url_secret") or given.get("client_id"):
                raise ValueError(
                    "auth, tokens, url_secret and client_id are for the default endpoint; move them into endpoints"
                )
            return auth
        auth = checked_auth(auth, given, "url_secret")
        if auth or not {"tokens", "url_secret", "endpoints"} <= given.keys():
            return auth
        if not is_on_loopback(given.get("bind")):
            raise ValueError(_WRITE_AUTH)
        return ("none",)

    @field_validator("seal_keys", mode="before")
    @classmethod
    def _check_seal_keys(cls, keys: object) -> object:
        # Before pydantic looks at it: an error of its own would quote the id, which may be the key.
        entries = enumerate(keys.items(), 1) if isinstance(keys, dict) else ()
        wrong = [_entry(number, key_id) for number, (key_id, key) in entries if not _is_key(key) or _hides(key_id)]
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)}: must be key id and 32 bytes in base64; make one with: forebay keys new"
            )
        return keys

    @field_validator("oauth_urls")
    @classmethod
    def _check_oauth_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        # Without what may be a password.
        if wrong := [url.rpartition("@")[2] for url in urls if not _is_private(url)]:
            raise ValueError(
                f"{', '.join(wrong)}: must start with https:// (access tokens go there), and have no query"
            )
        return urls

    @field_validator("seal_keys")
    @classmethod
    def _check_registry_has_a_key(cls, keys: dict[str, SecretStr], info: ValidationInfo) -> dict[str, SecretStr]:
        endpoints = [endpoint.auth for endpoint in info.data.get("endpoints", ())] or [info.data.get("auth", ())]
        if not keys and any("registry" in auth for auth in endpoints):
            raise ValueError("registry needs a key: tokens are kept as keyed hashes; make one with: forebay keys new")
        return keys

    @property
    def served(self) -> tuple[EndpointSettings, ...]:
        """The endpoints with their policies, longest path first; `none` where nothing was written on loopback."""
        endpoints = self.endpoints or (
            EndpointSettings(
                path=DEFAULT_PATH,
                auth=self.auth,
                tokens=self.tokens,
                secret=self.url_secret,
                client_id=self.client_id,
            ),
        )
        written = (one if one.auth else one.model_copy(update={"auth": ("none",)}) for one in endpoints)
        return tuple(sorted(written, key=lambda endpoint: -len(endpoint.path)))

    @property
    def keeps_portals(self) -> bool:
        """Whether facts about portals are kept: who may call, and keys for their secrets."""
        return bool(self.seal_keys) or any("registry" in endpoint.auth for endpoint in self.served)

    def seal_key_bytes(self) -> dict[str, bytes]:
        """Key id → key, the sealing one first."""
        return {key_id: b64decode(key.get_secret_value()) for key_id, key in self.seal_keys.items()}


_WRITE_AUTH = (
    'calls must be proved on an address that is not loopback: set auth to "tokens", "url-secret" or "registry" '
    '(or write "none" if really everybody may send events)'
)


def checked_address(bind: str) -> str:
    """The address, if a socket can have it. Raises `ValueError`."""
    found = _ADDRESS.fullmatch(bind)
    if not found or int(found["port"]) > _MAX_PORT:
        raise ValueError("must be host:port, as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080")
    return bind


def is_on_loopback(bind: str | None) -> bool:
    """Whether only this machine reaches the address.

    None and what is no address have a fault of their own, and one fault is enough for it.
    """
    found = _ADDRESS.fullmatch(bind or "")
    return found is None or is_loopback(found["v6"] or found["host"])


def _is_private(url: str) -> bool:
    """Whether nobody in between reads what is sent there."""
    try:
        parts = urlsplit(url)
        is_plain = parts.port != 0 and not (parts.query or parts.fragment or "@" in parts.netloc)
    except ValueError:
        return False
    is_local = parts.scheme == "http" and is_loopback(parts.hostname)
    return is_plain and bool(parts.hostname) and (parts.scheme == "https" or is_local)


def _is_key(key: object) -> bool:
    text = key.get_secret_value() if isinstance(key, SecretStr) else key
    try:
        return isinstance(text, str) and len(b64decode(text, validate=True)) == _KEY_BYTES
    except (NotBase64, ValueError):
        return False


def _hides(key_id: object) -> bool:
    """Whether the id is none, or a key that stands in its place: ids are shown."""
    return not key_id or _is_key(key_id) or str(key_id).startswith(PREFIX)


def _entry(number: int, key_id: object) -> str:
    """The id of a faulty entry, or its number where the id may be a key."""
    return f"entry {number}" if _hides(key_id) or len(str(key_id)) > _KEY_ID_CHARS else str(key_id)
