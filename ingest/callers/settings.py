"""The settings of who may call from where."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from forebay.ingest.endpoint_settings import as_list

from .networks import Networks, is_loopback, network_of

Cidrs = Annotated[tuple[str, ...], BeforeValidator(as_list)]


class CallerSettings(BaseModel):
    """Which addresses may call, and whose word is taken for who called."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    allow: Annotated[Cidrs, Field(description="networks that may call")] = ()
    allow_file: Annotated[Path | None, Field(description="a file with more of them, read again when it changes")] = None
    allow_url: Annotated[str | None, Field(description="a published list of them, fetched again and again")] = None
    refresh_s: Annotated[float, Field(description="so often", ge=60)] = 3600.0
    trusted_proxies: Annotated[Cidrs, Field(description="networks whose X-Forwarded-For is believed")] = ()

    @field_validator("allow", "trusted_proxies")
    @classmethod
    def _check_networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        faults = []
        for one in given:
            try:
                network_of(one)
            except ValueError as error:
                faults.append(str(error))
        if faults:
            raise ValueError("; ".join(faults))
        return given

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if any(network_of(one).prefixlen == 0 for one in given):
            raise ValueError("names every address, and whoever calls could say that he is somebody else; name proxies")
        return given

    @field_validator("allow_url")
    @classmethod
    def _check_url(cls, given: str | None) -> str | None:
        parts = urlsplit(given or "https://none")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
            raise ValueError("must start with https://: who can change the list on its way lets himself in")
        if not parts.hostname or "@" in parts.netloc:
            raise ValueError("must name a host, and no password")
        return given

    @property
    def limits(self) -> bool:
        """Whether some addresses may not call."""
        return bool(self.allow or self.allow_file or self.allow_url)


def networks(cidrs: tuple[str, ...]) -> Networks:
    """The networks of a setting that was checked."""
    return Networks(map(network_of, cidrs))
