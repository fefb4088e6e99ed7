"""`forebay doctor`, as a user runs it against a secured Kafka."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import (
    AdminClient,
)
from typer.testing import CliRunner

from forebay.console.cli import build
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from tests.kafka.identity_provider import SECRET
from tests.kafka.secured import PASSWORDS, Secured
from tests.kafka.ways_in import Way

WRONG = "not-the-password-4711"
SECRETS = (*PASSWORDS.values(), SECRET, WRONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The exit status, and the findings about the queue."""

    status: int
    findings: list[dict[str, str]]

    def told(self, state: str) -> str:
        """The findings of that state, a line each."""
        return "\n".join(
            f"{one['check']}: {one['detail']} -> {one['remedy']}" for one in self.findings if one["state"] == state
        )


@pytest.fixture
def topic() -> str:
    return f"events-{uuid4().hex[:12]}"


Doctor = Callable[..., Report]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], topic: str) -> Doctor:
    """Runs it as a user does; none of the secrets may be in what it prints, nor in what librdkafka prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOREBAY_PARTITIONS", "2")
    monkeypatch.setenv("FOREBAY_GROUP", topic)
    monkeypatch.setenv("FOREBAY_TOPIC", topic)

    def run(way: Way, *options: str) -> Report:
        monkeypatch.setenv("FOREBAY_QUEUE_URL", f"kafka://{way.bootstrap}")
        monkeypatch.setenv("FOREBAY_KAFKA", json.dumps(way.kafka))
        done = CliRunner().invoke(build(), ["doctor", "--json", *options])
        if isinstance(done.exception, Exception) and not isinstance(done.exception, SystemExit):
            raise done.exception
        printed = done.output + "".join(capfd.readouterr())
        assert not [secret for secret in SECRETS if secret in printed]
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        about = ("broker", "kafka", "queue", "topic", "group", "newest")
        return Report(status=done.exit_code, findings=[row for row in rows if row["check"].startswith(about)])

    return run


@pytest.fixture
def made(secured: Secured, topic: str) -> Iterator[AdminClient]:
    """The streams are there, as Forebay makes them; an admin who may change them."""
    asyncio.run(ensure(secured.clear, topic))
    with AdminClient({"bootstrap.servers": secured.clear, "log_level": 0}) as admin:
        yield admin


async def ensure(bootstrap: str, topic: str) -> None:
    """Make the topic's streams, as Forebay does."""
    queue = open_queue(QueueSettings(queue_url=f"kafka://{bootstrap}"))
    await queue.ensure(names.streams(topic), 2)
    await queue.close()
