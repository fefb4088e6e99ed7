"""What our user may do, and the command that gives it what it lacks."""

from collections.abc import Collection, Iterator
from enum import Enum

from confluent_kafka import KafkaError
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # it is public, but in no __all__

from forebay.queues.findings import Finding, Right
from forebay.queues.kafka.faults import sentence
from forebay.queues.kafka.properties import Properties
from forebay.queues.kafka.protocol import TOO_OLD

from .questions import KnownGroup

_OPERATIONS: dict[Right, AclOperation] = {"read": AclOperation.READ, "write": AclOperation.WRITE}


class Rights:
    """The rights of the user whom the properties name."""

    def __init__(self, properties: Properties) -> None:
        self._servers = str(properties["bootstrap.servers"])
        self._client = str(properties["client.id"])
        # A user by certificate or token has the name that the brokers make of these.
        self._user = str(properties.get("sasl.username", "<our user>"))

    def of_topic(self, name: str, wanted: frozenset[Right], has: frozenset[Enum]) -> Iterator[Finding]:
        """What we lack of a topic that we can see."""
        lacks = [right for right in sorted(wanted) if _OPERATIONS[right] not in has]
        if lacks:
            what = " and ".join(lacks)
            remedy = self._giving([right.capitalize() for right in lacks], f"--topic {name}")
            yield Finding(check=f"topic {name}", state="fail", detail=f"our user may not {what} it", remedy=remedy)

    def of_hidden_topic(self, name: str, wanted: frozenset[Right]) -> Finding:
        """The finding about a topic that we may not even see; it may be absent as well."""
        operations = [right.capitalize() for right in sorted(wanted)] or ["Describe"]
        remedy = self._giving(operations, f"--topic {name}")
        return Finding(check=f"topic {name}", state="fail", detail="our user may not see it", remedy=remedy)

    def of_making(self, name: str, error: KafkaError) -> Iterator[Finding]:
        """Why a topic that is absent can't be made by us; another process may be making it just now."""
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            remedy = f"make it with a user that may, or {self._giving(['Create'], f'--topic {name}')}"
            yield Finding(check=f"topic {name}", state="fail", detail="our user may not make it", remedy=remedy)
        elif error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            yield Finding(check=f"topic {name}", state="fail", detail=f"can't be made. {sentence(error)}")

    def of_group(self, name: str, found: KnownGroup | KafkaError, asked: str | None) -> Iterator[Finding]:
        """What we lack of the group, which is to use the protocol that is asked for, and who else is in it."""
        if isinstance(found, KafkaError) and found.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
            detail = f"the brokers don't tell about it ({found.name()}). {sentence(found)}"
            yield Finding(check=f"group {name}", state="fail", detail=detail)
        elif isinstance(found, KafkaError) or AclOperation.READ not in found.rights:
            remedy = self._giving(["Read"], f"--group {name}")
            yield Finding(check=f"group {name}", state="fail", detail="our user may not join it", remedy=remedy)
        elif asked == "consumer" and not found.keeps_session:
            yield Finding(check=f"group {name}", state="fail", detail=TOO_OLD)
        elif asked != "classic" and found.keeps_session and AclOperation.ALTER_CONFIGS not in found.rights:
            detail = "our user may not set its session, so the brokers' own holds instead of session_s"
            remedy = self._giving(["AlterConfigs"], f"--group {name}")
            yield Finding(check=f"group {name}", state="warn", detail=detail, remedy=remedy)
        else:
            yield Finding(check=f"group {name}", state="ok", detail="our user may join it")
        if isinstance(found, KnownGroup):
            yield from self._strangers(name, found.clients)

    def _strangers(self, name: str, clients: Collection[tuple[str, str]]) -> Iterator[Finding]:
        strangers = sorted({f"{client} on {host}" for client, host in clients if client != self._client})
        if strangers:
            detail = f"other programs are in it ({', '.join(strangers)}): no handler gets the events that they read"
            remedy = "end them, or set group to one that is ours alone; replay what they have read (forebay replay)"
            yield Finding(check=f"group {name}", state="warn", detail=detail, remedy=remedy)

    def _giving(self, operations: Collection[str], of: str) -> str:
        named = " ".join(f"--operation {one}" for one in operations)
        return f"kafka-acls --bootstrap-server {self._servers} --add --allow-principal 'User:{self._user}' {named} {of}"
