"""The settings of the schema registry: what passes, and that a password is never shown."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from forebay.console.settings import load_settings
from forebay.queues.bad_settings import BadSettings
from forebay.queues.settings import QueueSettings


def loaded(tmp_path: Path, **environ: str) -> Any:
    config = tmp_path / "forebay.toml"
    config.touch()
    return load_settings(config, environ={f"FOREBAY_{name.upper()}": value for name, value in environ.items()})


def test_there_is_none_by_default(tmp_path: Path) -> None:
    settings = loaded(tmp_path).settings

    assert settings.schema_registry_url is None
    assert settings.schema_registry == {}
    # One that came out empty would let records go without the registry's id, which other consumers want.
    with pytest.raises(BadSettings, match="FOREBAY_SCHEMA_REGISTRY_URL: is empty"):
        loaded(tmp_path, schema_registry_url="")


@pytest.mark.parametrize(
    "url",
    [
        "http://registry:8081",
        "https://registry.example/apis/ccompat/v7",
        "http://one:8081,http://two:8081",
        "http://[::1]:8081/",
    ],
)
def test_an_address_passes_as_it_is(url: str, tmp_path: Path) -> None:
    assert loaded(tmp_path, schema_registry_url=url).settings.schema_registry_url == url


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("registry:8081", "http://registry:8081"),
        ("kafka://registry:8081", "http://registry:8081"),
        ("http://", "name a host"),
        ("http://registry:port", "name a host"),
        ("http://[registry", "name a host"),
        ("http://user:hunter2@registry:8081", "basic.auth.user.info"),
        ("http://one:8081,http://user:hunter2@two:8081", "basic.auth.user.info"),
        ("http://user:hunter2@regi℀stry", "name a host"),
        ("http://registry:8081/?token=hunter2", "no \\?"),
    ],
)
def test_an_address_that_can_not_be_meant_is_told_without_its_password(url: str, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=remedy) as refused:
        loaded(tmp_path, schema_registry_url=url)

    assert "schema_registry_url" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ValidationError):
        QueueSettings(schema_registry_url=url)


def test_secrets_of_the_table_are_masked(tmp_path: Path) -> None:
    table = '{"basic.auth.user.info": "u:hunter2", "ssl.key.password": "hunter2", "ssl.ca.location": "/ca.pem"}'

    shown, _ = loaded(tmp_path, schema_registry=table).shown()["schema_registry"]

    assert "hunter2" not in shown
    assert "/ca.pem" in shown


def test_a_table_that_is_none_shows_how_one_looks(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="<property of the client>"):
        loaded(tmp_path, schema_registry="on")


def test_its_client_and_http_library_are_not_imported_without_the_setting() -> None:
    program = (
        "import sys; import forebay.console.processes.worker, forebay.ingest.server, forebay.queues.kafka.queue;"
        "from forebay.queues.registry.opening import open_registry;"
        "from forebay.queues.settings import QueueSettings;"
        "assert open_registry(QueueSettings()) is None;"
        "found = {'confluent_kafka.schema_registry', 'httpx2', 'authlib'} & set(sys.modules);"
        "sys.exit(f'imported: {found}' if found else 0)"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
