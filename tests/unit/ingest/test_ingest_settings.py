from typing import Any

import pytest
from pydantic import ValidationError

from forebay.ingest.settings import IngestSettings

SECRET = "0123456789abcdef"
KEY = "A" * 43 + "="


def faults(**given: Any) -> dict[str, str]:
    """Setting → what is wrong with it; fails when nothing is."""
    with pytest.raises(ValidationError) as refusal:
        IngestSettings(**given)
    assert "hunter2" not in str(refusal.value)
    return {".".join(map(str, error["loc"])): error["msg"] for error in refusal.value.errors()}


def policies(**given: Any) -> list[tuple[str, tuple[str, ...]]]:
    return [(endpoint.path, endpoint.auth) for endpoint in IngestSettings(**given).served]


def test_on_loopback_nothing_needs_to_be_set() -> None:
    assert policies() == [("/bitrix24", ("none",))]
    assert policies(bind="[::1]:80") == policies(bind="localhost:80") == policies(bind="127.3.2.1:80") == policies()


def test_on_another_address_who_may_call_must_be_written_out() -> None:
    assert "set auth" in faults(bind="0.0.0.0:8080")["auth"]
    assert "/a: calls must be proved" in faults(bind="[::]:8080", endpoints=[{"path": "/a"}])["endpoints"]
    assert policies(bind="0.0.0.0:8080", auth="none") == [("/bitrix24", ("none",))]


@pytest.mark.parametrize(
    ("given", "auth"),
    [
        ({"auth": "tokens", "tokens": {"*": "t"}}, ("tokens",)),
        ({"tokens": {"a.ru": ["t", "u"]}}, ("tokens",)),
        ({"url_secret": SECRET}, ("url-secret",)),
        ({"url_secret": [SECRET, SECRET[::-1]]}, ("url-secret",)),
        ({"url_secret": SECRET, "tokens": {"*": "t"}}, ("tokens", "url-secret")),
        ({"auth": ["tokens", "url-secret"], "url_secret": SECRET, "tokens": {"*": "t"}}, ("tokens", "url-secret")),
    ],
)
def test_a_policy_may_be_written_or_follow_from_what_was_given(given: dict[str, Any], auth: tuple[str, ...]) -> None:
    assert policies(bind="0.0.0.0:8080", **given) == [("/bitrix24", auth)]


@pytest.mark.parametrize(
    ("given", "setting", "remedy"),
    [
        ({"auth": "tokens"}, "auth", "needs the setting tokens"),
        ({"auth": "url-secret"}, "auth", "openssl rand"),
        ({"auth": "registry", "seal_keys": {"k": KEY}}, "auth", "needs the setting client_id"),
        ({"auth": "registry", "client_id": "app.1"}, "seal_keys", "registry needs a key"),
        ({"auth": "registry", "client_id": "hunter2!", "seal_keys": {"k": KEY}}, "client_id", "match pattern"),
        ({"oauth_urls": ["http://oauth.bitrix.info/rest"]}, "oauth_urls", "must start with https"),
        ({"oauth_urls": ["http://[2001:db8::1]/rest"]}, "oauth_urls", "must start with https"),
        ({"oauth_urls": ["http://our_proxy/rest"]}, "oauth_urls", "must start with https"),
        ({"oauth_urls": ["https://oauth.bitrix.info:99999/rest"]}, "oauth_urls", "must start with https"),
        ({"oauth_urls": ["https://oauth.bitrix.info/rest?a=b"]}, "oauth_urls", "no query"),
        ({"oauth_urls": []}, "oauth_urls", "at least 1"),
        ({"auth": "hunter2"}, "auth", "must be one of"),
        ({"auth": ["none", "tokens"], "tokens": {"*": "t"}}, "auth", "nothing may stand beside it"),
        ({"tokens": {"*": ""}}, "tokens", "is empty"),
        ({"tokens": {"not a domain": "hunter2"}}, "tokens", "domain or member_id"),
        ({"url_secret": "hunter2"}, "url_secret", "16 or more"),
        ({"url_secret": "hunter2 hunter2 / hunter2"}, "url_secret", "16 or more"),
        ({"url_secret": [SECRET, "hunter2"]}, "url_secret", "16 or more"),
        ({"auth": "url-secret", "url_secret": []}, "auth", "openssl rand"),
        ({"seal_keys": {"k": "hunter2"}}, "seal_keys", "forebay keys new"),
        ({"seal_keys": {"": KEY}}, "seal_keys", "key id"),
        # So the keys of portals are called.
        ({"seal_keys": {"portal/m/1": KEY}}, "seal_keys", "key id"),
        ({"bind": "8080"}, "bind", "host:port"),
        ({"bind": "127.0.0.1:99999"}, "bind", "host:port"),
        ({"metrics_bind": "127.0.0.1:8080"}, "metrics_bind", "another port"),
        ({"endpoints": [{"path": "/a"}, {"path": "/a/"}]}, "endpoints", "/a is there twice"),
        ({"endpoints": [{"path": "/live"}]}, "endpoints.0.path", "none of"),
        ({"endpoints": [{"path": "a"}]}, "endpoints.0.path", "a path like"),
        ({"endpoints": [{"path": "/a", "auth": "tokens"}]}, "endpoints.0.auth", "needs the setting tokens"),
        ({"endpoints": [{"path": "/a", "auth": "url-secret"}]}, "endpoints.0.auth", "needs the setting secret"),
        ({"endpoints": [{"path": "/a"}], "tokens": {"*": "t"}}, "auth", "move them into endpoints"),
        ({"max_body_bytes": 10}, "max_body_bytes", "greater"),
    ],
)
def test_a_fault_names_its_setting_and_the_remedy(given: dict[str, Any], setting: str, remedy: str) -> None:
    found = faults(**given)

    assert list(found) == [setting]
    assert remedy in found[setting]


def test_all_faults_are_found_at_once() -> None:
    found = faults(bind="nowhere", auth="tokens", seal_keys={"k": "x"}, max_fields=0, endpoints=[{"path": "a"}])

    assert set(found) == {"bind", "seal_keys", "max_fields", "endpoints.0.path", "auth"}


@pytest.mark.parametrize("value", ["k1", 1, KEY])
def test_a_seal_key_that_stands_in_the_place_of_its_id_is_not_shown(value: object) -> None:
    (fault,) = faults(seal_keys={"k": KEY, "hunter2" + KEY[7:]: value}).values()

    assert "entry 2: must be key id and 32 bytes" in fault


def test_a_cut_seal_key_in_the_place_of_its_id_is_not_shown_either() -> None:
    (fault,) = faults(seal_keys={"hunter2" * 5: "k1"}).values()

    assert "entry 1" in fault


def test_secrets_are_masked() -> None:
    secrets = ["hunter2" * 3, "hunter2" * 4]
    given: dict[str, Any] = {"tokens": {"*": "hunter2"}, "url_secret": secrets, "seal_keys": {"k": KEY}}

    settings = IngestSettings(**given)

    assert "hunter2" not in repr(settings) and KEY not in repr(settings)
    assert settings.seal_key_bytes() == {"k": bytes(32)}


def test_the_longest_path_is_asked_first() -> None:
    paths = [path for path, _ in policies(endpoints=[{"path": "/"}, {"path": "/a/b"}, {"path": "/a"}])]

    assert paths == ["/a/b", "/a", "/"]


@pytest.mark.parametrize(
    ("given", "setting", "remedy"),
    [
        ({"allow": ["203.0.113.7/24", "nowhere"]}, "callers.allow", "'nowhere' is no network"),
        ({"trusted_proxies": "proxy.example.com"}, "callers.trusted_proxies", "write it as 203.0.113.0/24"),
        ({"trusted_proxies": "0.0.0.0/0"}, "callers.trusted_proxies", "names every address"),
        ({"allow_url": "http://example.com/list"}, "callers.allow_url", "must start with https://"),
        ({"allow_url": "https://me:hunter2@example.com/list"}, "callers.allow_url", "no password"),
        ({"allow_url": "file:///etc/passwd"}, "callers.allow_url", "must start with https://"),
        ({"refresh_s": 1}, "callers.refresh_s", "greater"),
        ({"alow": []}, "callers.alow", "not permitted"),
    ],
)
def test_a_fault_in_who_may_call_names_its_place(given: dict[str, Any], setting: str, remedy: str) -> None:
    found = faults(callers=given)

    assert list(found) == [setting]
    assert remedy in found[setting]
