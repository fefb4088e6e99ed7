"""What doctor says of the OAuth servers that are asked whose a token is."""

import base64

import pytest

from forebay.console.checks.oauth import oauth_findings
from forebay.console.settings import Settings
from tests.bitrix24.oauth import FakeOAuth
from tests.ports import free_ports

REGISTRY = {
    "auth": "registry",
    "client_id": "app.5a1b2c3d4e5f60.12345678",
    "seal_keys": {"k1": base64.b64encode(bytes(32)).decode()},
}


async def found(**settings: object) -> list[tuple[str, str]]:
    return [(one.state, one.detail) async for one in oauth_findings(Settings.model_validate(settings))]


async def test_each_is_asked_about_a_token_that_is_none() -> None:
    [port] = free_ports(1)
    away = f"http://127.0.0.1:{port}/rest"

    with FakeOAuth() as oauth:
        told = await found(**REGISTRY, oauth_urls=[oauth.url, away])

    assert told == [
        ("ok", f"{oauth.url} answers"),
        ("warn", f"{away} can't be asked whose a token is: {away} does not answer: ConnectionRefusedError"),
    ]
    assert oauth.asked == ["forebay-doctor"]


async def test_what_is_no_oauth_server_is_told() -> None:
    with FakeOAuth() as page:
        page.answer = (200, b"<html>")

        [(state, detail)] = await found(**REGISTRY, oauth_urls=[page.url])

    assert (state, "without JSON" in detail) == ("warn", True)


@pytest.mark.parametrize("auth", ["none", "tokens"])
async def test_nobody_is_asked_where_no_endpoint_has_the_registry(auth: str) -> None:
    with FakeOAuth() as oauth:
        assert await found(auth=auth, tokens={"*": "a-token-of-some-length"}, oauth_urls=[oauth.url]) == []

    assert oauth.asked == []
