"""The settings of one endpoint: where it is, and what proves a call."""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from forebay.schemas.portal import BadPortal, normal_form

from .authenticate import ANY_PORTAL, Proofs

Policy = Literal["tokens", "url-secret", "registry", "none"]
_POLICIES = get_args(Policy)

_PATH = re.compile(r"/(?:[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*)?")
_OURS = frozenset({"/live", "/ready", "/metrics", "/openapi.json"})

#: A secret that stands in URLs must not be one that can be guessed.
_MIN_SECRET_CHARS = 16
_SECRET = re.compile(r"[A-Za-z0-9._~-]+")


def as_list(given: object) -> object:
    """One policy, token, secret or network may stand without brackets."""
    return (given,) if isinstance(given, str | SecretStr) else given


def _secrets(given: object) -> object:
    return () if given is None else as_list(given)


def _policies(given: object) -> object:
    given = as_list(given)
    if isinstance(given, list | tuple):
        for policy in given:
            if policy not in _POLICIES:
                raise ValueError(f"must be one of {', '.join(_POLICIES)}, or a list of them")
    return given


Policies = Annotated[tuple[Policy, ...], BeforeValidator(_policies)]
ClientId = Annotated[
    str, Field(description="of the application whose portals call, for registry", pattern=r"^[A-Za-z0-9._-]{0,128}$")
]
Tokens = dict[str, Annotated[tuple[SecretStr, ...], BeforeValidator(as_list)]]
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_secrets)]


def checked_tokens(tokens: Tokens) -> Tokens:
    """The tokens, or `ValueError` with all that is wrong in them."""
    faults = []
    for portal, listed in tokens.items():
        if portal != ANY_PORTAL:
            try:
                normal_form(portal)
            except BadPortal as error:
                faults.append(f"{error}; a portal stands here by its domain or member_id, or * for any")
        if not listed or not all(token.get_secret_value() for token in listed):
            faults.append(f"the token of {portal!r} is empty; copy it from the webhook's page or from ONAPPINSTALL")
    if faults:
        raise ValueError("; ".join(faults))
    return tokens


def checked_secrets(secrets: Secrets) -> Secrets:
    """The secrets, or `ValueError` for one that could be guessed or can't stand in a URL."""
    for text in (secret.get_secret_value() for secret in secrets):
        if len(text) < _MIN_SECRET_CHARS or not _SECRET.fullmatch(text):
            raise ValueError(
                f"a secret in a URL needs {_MIN_SECRET_CHARS} or more of the characters A-Z a-z 0-9 . _ ~ -; "
                "make one with: openssl rand -hex 16"
            )
    return secrets


def checked_auth(auth: Policies, given: dict[str, Any], secret_name: str) -> Policies:
    """The policies, taken from what else was given where they are not written out."""
    # A field that is missing here has a fault of its own already.
    tokens, secret = given.get("tokens", ()), given.get(secret_name)
    if not auth:
        has = (("tokens", tokens), ("url-secret", secret))
        return tuple(policy for policy, proof in has if proof)  # type: ignore[misc]  # the literals of Policy
    if "none" in auth and len(auth) > 1:
        raise ValueError("none lets everybody in, so nothing may stand beside it; take it out or leave it alone")
    if "tokens" in auth and "tokens" in given and not tokens:
        raise ValueError("tokens needs the setting tokens: {portal or member_id or *: token}")
    if "registry" in auth and "client_id" in given and not given["client_id"]:
        raise ValueError("registry needs the setting client_id: the application's, from its page in Bitrix24")
    if "url-secret" in auth and secret_name in given and not secret:
        raise ValueError(f"url-secret needs the setting {secret_name}; make one with: openssl rand -hex 16")
    return auth


class EndpointSettings(BaseModel):
    """One address that portals call, and what it accepts as proof."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    path: Annotated[str, Field(description="where it is; deeper paths are the same endpoint")]
    tokens: Annotated[Tokens, Field(description="application tokens, by portal, member_id or *", default_factory=dict)]
    secret: Annotated[Secrets, Field(description="one or several, in the path behind the endpoint, or ?secret=")] = ()
    client_id: ClientId = ""
    auth: Annotated[Policies, Field(description="what proves a call; one of them is enough")] = ()

    _check_tokens = field_validator("tokens")(checked_tokens)
    _check_secret = field_validator("secret")(checked_secrets)

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        path = path.rstrip("/") or "/"
        if not _PATH.fullmatch(path) or path in _OURS:
            raise ValueError(f"must be a path like /bitrix24 and none of {', '.join(sorted(_OURS))}")
        return path

    @field_validator("auth")
    @classmethod
    def _check_auth(cls, auth: Policies, info: ValidationInfo) -> Policies:
        return checked_auth(auth, info.data, "secret")

    def proofs(self) -> Proofs:
        """What the gate of this endpoint accepts."""
        tokens = {
            portal if portal == ANY_PORTAL else normal_form(portal): tuple(
                token.get_secret_value().encode() for token in listed
            )
            for portal, listed in self.tokens.items()
        }
        return Proofs(
            # With a registry it is not the gate that refuses.
            anyone="none" in self.auth or "registry" in self.auth,
            tokens=tokens if "tokens" in self.auth else {},
            secrets=tuple(one.get_secret_value().encode() for one in self.secret) if "url-secret" in self.auth else (),
        )
