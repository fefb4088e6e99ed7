"""What docs/kafka-security.md shows: the settings are those that the tests use, the commands give what they promise."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from forebay.console.cli import build
from forebay.console.group_lag import lags
from forebay.queues.contract import Commit, Grows, Queue, Record
from forebay.queues.errors import QueueError
from forebay.queues.moves.watch import MoveWatch
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from tests.kafka.members import PATIENCE_S, SESSION_S, Owner
from tests.kafka.opener import Opener
from tests.kafka.secured import PASSWORDS, Secured
from tests.kafka.ways_in import Way, ways_in

PAGE = (Path(__file__).parents[3] / "docs" / "kafka-security.md").read_text("utf-8")
TOPIC, GROUP, PARTITIONS = "bitrix24.events", "forebay", 2

#: The page's headings, and the ways that the tests go.
WAYS = {
    "A password, over TLS (SCRAM)": "scram over tls",
    "A password, over TLS (PLAIN)": "plain over tls",
    "A password in a closed network, without TLS": "scram",
    "TLS without a login": "tls",
    "A certificate of our own (mutual TLS)": "mutual tls",
    "Tokens of an identity provider (OAUTHBEARER, OIDC)": "oidc",
}

#: What is each reader's own.
OWN = re.compile(r"/etc/forebay/|<\w+>|https://id\.example/")


def blocks(language: str) -> list[tuple[str, str]]:
    """The heading that each block of code stands under, and the block."""
    found, heading = [], ""
    for part in re.finditer(rf"^###? (?P<heading>[^\n]+)$|^```{language}\n(?P<code>.*?)^```$", PAGE, re.M | re.S):
        heading = part["heading"] or heading
        if part["code"]:
            found.append((heading, part["code"]))
    return found


@pytest.mark.kafka
def test_the_settings_are_those_that_are_tested(secured: Secured) -> None:
    shown = {heading: tomllib.loads(code) for heading, code in blocks("toml")}

    assert shown.keys() == WAYS.keys()
    for heading, name in WAYS.items():
        tested, kafka = ways_in(secured)[name].kafka, shown[heading]["kafka"]
        if name == "oidc":
            # TLS below the token is that of the password.
            tested = {**ways_in(secured)["scram over tls"].kafka, **tested, "security.protocol": "SASL_SSL"}
            tested = {key: value for key, value in tested.items() if key not in ("sasl.username", "sasl.password")}
        assert kafka.keys() == tested.keys(), heading
        assert all(OWN.match(value) or value == tested[key] for key, value in kafka.items()), heading


def acl_commands() -> list[list[str]]:
    """The arguments of each kafka-acls, in the order of the page."""
    text = "\n".join(code for _, code in blocks("sh")).replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("kafka-acls ")]


def run_acls(secured: Secured, user: str) -> None:
    """Run the commands of the page that are about the user."""
    for arguments in acl_commands():
        if f"User:{user}" in arguments:
            at = arguments.index("--command-config")
            given = [secured.clear if word.startswith("kafka1.") else word for word in arguments]
            secured.cluster.nodes[0].tool("org.apache.kafka.tools.AclCommand", *given[:at], *given[at + 2 :])


def way_of(secured: Secured, user: str) -> Way:
    return ways_in(secured)["scram over tls"].but(sasl_username=user, sasl_password=PASSWORDS[user])


class Users:
    """A queue for each user, and its `forebay`."""

    def __init__(self, secured: Secured, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
        self._secured, self._opened, self._monkeypatch = secured, opened, monkeypatch

    def queue(self, user: str) -> Queue:
        way = way_of(self._secured, user)
        return self._opened(way.bootstrap, kafka=way.kafka)

    def run(self, user: str, *command: str) -> str:
        """What the command tells the user."""
        way = way_of(self._secured, user)
        self._monkeypatch.setenv("FOREBAY_QUEUE_URL", f"kafka://{way.bootstrap}")
        self._monkeypatch.setenv("FOREBAY_KAFKA", json.dumps(way.kafka))
        self._monkeypatch.setenv("FOREBAY_PARTITIONS", str(PARTITIONS))
        done = CliRunner().invoke(build(), command)
        # Where it could not even look, it names no failure either.
        assert done.exit_code in (0, 1) and isinstance(done.exception, SystemExit | None), done
        return done.stdout

    def failures(self, user: str, side: str) -> str:
        """What doctor says must be mended for the user."""
        told = self.run(user, "doctor", "--side", side).splitlines()
        return "\n".join(line for line in told if line.startswith("fail"))


@pytest.fixture(scope="module")
def granted(secured: Secured) -> Secured:
    """The users of the sides have the rights that the page gives them. Each command starts a Java of its own."""
    for user in ("forebay-operator", "forebay-ingest", "forebay-worker", "forebay-canary", "forebay-web"):
        run_acls(secured, user)
    return secured


@pytest.fixture
async def users(granted: Secured, opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Users:
    monkeypatch.chdir(tmp_path)
    return Users(granted, opened, monkeypatch)


def record() -> Record:
    return Record(key="p.example", value=b"x", timestamp_ms=1_772_366_400_000)


@pytest.mark.faults
@pytest.mark.timeout(600)
async def test_the_rights_are_what_each_side_needs_and_no_more(users: Users) -> None:
    operator = users.queue("forebay-operator")
    assert isinstance(operator, Grows)
    made = await operator.ensure(names.streams(TOPIC), PARTITIONS)

    ingest = users.queue("forebay-ingest")
    assert await ingest.ensure(names.streams(TOPIC), PARTITIONS) == []
    # Whether everything was moved from the queue it may not know.
    watch = MoveWatch(ingest, TOPIC)
    with capture_logs() as logs:
        await watch.look()
    assert (watch.state, logs) == ("", [])
    producer = ingest.producer()
    await producer.check()
    at = await producer.send(TOPIC, record())
    await producer.send(names.quarantine(TOPIC), record())
    with pytest.raises(QueueError, match="Topic authorization failed"):
        await producer.send(names.dead(TOPIC), record())
    await producer.close()

    worker = users.queue("forebay-worker")
    assert await worker.ensure(names.streams(TOPIC), PARTITIONS) == []
    owner = Owner()
    consumer = worker.consumer(TOPIC, GROUP, session_s=SESSION_S)
    await consumer.start(owner)
    await owner.owns(PARTITIONS)
    [read] = await consumer.fetch(10, PATIENCE_S)
    letters = worker.producer()
    await letters.send(names.dead(TOPIC), record())
    with pytest.raises(QueueError, match="Topic authorization failed"):
        await letters.send(TOPIC, record())
    await letters.close()
    inspector = operator.inspector()
    settings = QueueSettings(topic=TOPIC, group=GROUP)
    behind = [row["records"] for row in await lags(inspector, settings, None)]
    await consumer.commit({at.partition: Commit(offset=at.offset + 1)})
    await consumer.close()
    finished = [row["records"] for row in await lags(inspector, settings, None)]
    [letter] = await inspector.read(names.dead(TOPIC), at.partition, 0, 10)
    await inspector.close()

    assert len(made) == len(names.streams(TOPIC))
    assert read.value == letter.value == b"x"
    assert sum(map(int, map(str, behind))) == 1
    assert finished == [0, 0]
    assert len(await operator.grow(names.streams(TOPIC), PARTITIONS + 1, only_plan=True)) == len(made)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_doctor_finds_the_rights_of_the_page_enough(users: Users) -> None:
    users.run("forebay-operator", "topics", "ensure")
    assert users.failures("forebay-ingest", "ingest") == ""
    assert users.failures("forebay-worker", "process") == ""
    assert users.failures("forebay-canary", "canary") == ""
    assert users.failures("forebay-web", "canary") == ""
    assert "may not read it" in users.failures("forebay-ingest", "process")
    assert "may not write it" in users.failures("forebay-worker", "ingest")
    told = users.failures("forebay-operator", "all").splitlines()
    assert len(told) == 1 and f"group {GROUP}: our user may not join it" in told[0]
