"""What the log says of settings that an ingest has read again."""

import base64
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay.console.terminal.log_redaction import hide_secrets
from forebay.ingest import server
from forebay.ingest.settings import IngestSettings

OLD, NEW = {"old": base64.b64encode(b"o" * 32).decode()}, {"new": base64.b64encode(b"n" * 32).decode()}
SECRETS = {"url_secret": ["the-old-secret-4567"], "seal_keys": OLD}


class Unbothered:
    """No signal is heeded in a test."""

    def heed(self) -> None:
        """Nothing was asked for."""


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ""),
        ({"seal_keys": OLD | NEW}, "seal_keys"),
        ({"url_secret": ["the-new-secret-0123"], "seal_keys": OLD | NEW}, "url_secret, seal_keys"),
    ],
)
def test_the_names_of_what_changed_are_told(changed: dict[str, Any], told: str) -> None:
    assert told_of(SECRETS, SECRETS | changed) == told


def test_another_key_in_front_is_a_change() -> None:
    assert told_of({"seal_keys": OLD | NEW}, {"seal_keys": NEW | OLD}) == "seal_keys"


def told_of(before: dict[str, Any], now: dict[str, Any]) -> object:
    """As the log shows it."""
    serving = server.Server(
        IngestSettings.model_validate(before),
        "",
        lambda: None,
        Unbothered(),  # type: ignore[arg-type]
        lambda: IngestSettings.model_validate(now),
    )
    with capture_logs() as lines:
        assert serving.take_over_settings()
    (line,) = lines
    return hide_secrets(None, "info", line)["changed"]
