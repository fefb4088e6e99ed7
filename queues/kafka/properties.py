"""The properties of librdkafka's clients: what we need, and what the setting `kafka` passes through."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from forebay.queues.errors import QueueError
from forebay.queues.passwords import read
from forebay.queues.settings import QueueSettings

from .address import bootstrap_servers

Properties = dict[str, str | int | bool]

_BREAKS_A_PROMISE = "Forebay's promises stand on it"

_LEAVES_A_GAP = "a record that is given up would come behind later ones of its portal; see ack_deadline_ms"

#: What the setting `kafka` may not contain, and what to do instead.
_RESERVED = {
    "bootstrap.servers": "write the brokers into queue_url",
    "metadata.broker.list": "write the brokers into queue_url",
    "group.id": "use the setting group",
    "group.instance.id": "use the setting group_instance_id",
    "session.timeout.ms": "use the setting session_s",
    "acks": _BREAKS_A_PROMISE,
    "request.required.acks": _BREAKS_A_PROMISE,
    "enable.idempotence": _BREAKS_A_PROMISE,
    "enable.gapless.guarantee": "it would end the client for each record that the brokers refuse",
    "transactional.id": _BREAKS_A_PROMISE,
    "message.timeout.ms": _LEAVES_A_GAP,
    "delivery.timeout.ms": _LEAVES_A_GAP,
    "retries": _LEAVES_A_GAP,
    "message.send.max.retries": _LEAVES_A_GAP,
    "partitioner": _BREAKS_A_PROMISE,
    "allow.auto.create.topics": "`forebay topics ensure` makes what is missing, as it must be",
    "enable.auto.commit": _BREAKS_A_PROMISE,
    "enable.auto.offset.store": _BREAKS_A_PROMISE,
    "auto.offset.reset": _BREAKS_A_PROMISE,
    "partition.assignment.strategy": _BREAKS_A_PROMISE,
    "enable.partition.eof": _BREAKS_A_PROMISE,
    "delivery.report.only.error": _BREAKS_A_PROMISE,
    "statistics.interval.ms": "only by statistics does Forebay learn that a client is ready, or can't go on",
    "logger": "what the client says goes into Forebay's log; debug and log_level say how much",
}

_EVERYWHERE: Properties = {
    "client.id": "forebay",
    # What librdkafka would write to stderr comes to us as errors too.
    "log_level": 2,
    # Where brokers make any topic that somebody asks for, as they do by default, a producer that misses one would have
    # it made by their settings: with another number of partitions, with one copy, and emptied after a week.
    "allow.auto.create.topics": False,
    # Ten seconds by default: too long to notice that the brokers are back.
    "reconnect.backoff.max.ms": 1000,
}

_PRODUCER: Properties = {
    "acks": "all",
    "enable.idempotence": True,
    # Where the Java client would put the key.
    "partitioner": "murmur2_random",
    "compression.type": "lz4",
    # librdkafka batches by itself under load. Measured: waiting 5 ms for more cost a factor of 6 at 8 callers.
    "linger.ms": 0,
    "queue.buffering.max.kbytes": 65_536,
    # A whole batch is refused when it is too large for the topic: small records that come together, too, where an
    # administrator lets a topic take no more than this. So single records decide, and the broker.
    "batch.size": 60_000,
    "message.max.bytes": 16_000_000,
    # None is given up: what follows it could arrive then, and it would come behind that when it is sent again.
    "message.timeout.ms": 0,
    # A topic that was just made is known everywhere within that; after it, it is unknown.
    "topic.metadata.propagation.max.ms": 3000,
    # They tell when the producer is ready for its first record, and when it has lost every broker; nothing else does.
    "statistics.interval.ms": 500,
}

_CONSUMER: Properties = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # Never skip in silence what retention has taken, or what stood in a topic that was made anew.
    "auto.offset.reset": "error",
    # Behind the last record there may be markers of transactions: only the end of what was read tells.
    "enable.partition.eof": True,
    # Measured: the default of 1000 cost a factor of 3.4.
    "fetch.queue.backoff.ms": 20,
    # Of one partition at a time, so that what is in hand is of many: by default a thousand kilobytes, which may be ten
    # thousand records, and whoever waits for others has the portals of two or three partitions alone.
    "fetch.message.max.bytes": 131_072,
    "fetch.wait.max.ms": 250,
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 16_384,
    # They tell when the member has lost every broker; nothing else does.
    "statistics.interval.ms": 2000,
}

_ADMIN: Properties = {
    # By default a client is connected with whom it needs alone. Asking a broker that refuses connections, as a dead one
    # does, it tries that 20,000 times a second (librdkafka 2.16). One that stays connected with all of them waits.
    "enable.sparse.connections": False,
}

_OUTSIDER: Properties = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    # What is left of the last place counts at the next one for a moment: by default it may wait for a second then.
    "fetch.queue.backoff.ms": 20,
    # A read takes some hundred records, and the next one may be of another place: then what else came is for nothing.
    "fetch.message.max.bytes": 131_072,
    "queued.min.messages": 1000,
    # Who reads on where nothing is yet: so long a broker waits for more.
    "fetch.wait.max.ms": 100,
    "queued.max.messages.kbytes": 4096,
}

#: Who reads now here, now there: what is asked for at the next place waits behind a fetch that runs for nothing.
_BROWSER: Properties = {**_OUTSIDER, "fetch.wait.max.ms": 5}

_UNKNOWN_PROPERTY = "forebay.is.unknown"

#: A property of ours in place of librdkafka's: a file of the password, which is read for each client that is made.
_LOGIN_FILE = "sasl.password.file"
_LOGIN = "sasl.password"

#: A consumer is not made without one.
_NO_GROUP = "forebay"

#: What a client needs to come in, and what it takes from files: whether it may is told when it is made, and by doctor.
_OF_LOGIN = ("security.", "sasl.", "ssl.", "https.", "enable.ssl.", "enable.sasl.")

#: No client is made of these; librdkafka looks at a login before it looks at them.
_NEVER_TOGETHER: Properties = {"enable.idempotence": True, "queuing.strategy": "lifo"}

#: librdkafka says so before each reason.
_NOT_MADE = re.compile(r"Failed to create \w+(?: \w+)?: ")

_MS = 1000

#: Members beat so often in a session, and at least every second: only with its next beat does one learn that another is
#: gone, so that what a dead one had stands still for a session and a beat.
_BEATS_A_SESSION = 10
_LONGEST_BEAT_MS = 1000


def everywhere(settings: QueueSettings) -> Properties:
    """The properties of every client: brokers and security. Raises `QueueError` with all faults at once."""
    faults = [f"kafka: {fault}" for fault in faults_of(settings.kafka)]
    servers = bootstrap_servers(settings.queue_url)
    if faults:
        raise QueueError("; ".join(faults))
    passed = {name: _plain(value) for name, value in settings.kafka.items()}
    return {**_EVERYWHERE, "bootstrap.servers": servers, **passed}


def faults_of(kafka: Mapping[str, str | int | bool | SecretStr]) -> list[str]:
    """What can't stand in the setting `kafka`: properties that are ours, that nobody knows, or of a wrong type."""
    reserved = [f"{name} can't be set here; {_RESERVED[name]}" for name in kafka if name in _RESERVED]
    if {_LOGIN, _LOGIN_FILE} <= kafka.keys():
        reserved.append(f"{_LOGIN} and {_LOGIN_FILE} are both set; one of them must go")
    others = {name: value for name, value in kafka.items() if name not in _RESERVED and name != _LOGIN_FILE}
    refused = [fault for name, value in others.items() if (fault := _refusal(name, value))]
    return reserved + refused or _conflicts(others)


def _refusal(name: str, value: str | int | bool | SecretStr) -> str:
    """Why librdkafka would not take the property; empty when it would.

    It is asked without making a client, whose threads could not cross a fork: it is given a second property, which it
    surely does not know, and takes one after the other.
    """
    try:
        AdminClient({name: _plain(value), _UNKNOWN_PROPERTY: ""})
    except KafkaException as error:
        text = str(error.args[0].str()).strip()
        if _UNKNOWN_PROPERTY in text:
            return ""
        # It repeats some values.
        told = text if not isinstance(value, SecretStr) else "its value can't be used"
        return f"{name}: {told}"
    except (TypeError, ValueError, AttributeError):
        return f"{name} can't be set here; it is no text, number or switch"
    return ""


def _conflicts(kafka: Mapping[str, str | int | bool | SecretStr]) -> list[str]:
    """Why librdkafka makes no client of properties that it takes one by one; each reason once.

    It looks at them together only when a client is made. One that knows no broker leaves no thread behind.
    """
    shared = {name: _plain(value) for name, value in kafka.items() if not name.startswith(_OF_LOGIN)}
    return [*dict.fromkeys(fault for client, given in _clients(shared) if (fault := _conflict(client, given)))]


def _clients(shared: Properties) -> list[tuple[Callable[[Any], object], Properties]]:
    """What a process of ours makes. (Of a member with a session it is told when that is known.)"""
    shared = {**_EVERYWHERE, **shared, "log_level": 0}
    member = of_the_new_protocol(for_member(shared, group=_NO_GROUP, instance=""))
    outsiders = [for_outsider(shared, _NO_GROUP), for_outsider(shared, _NO_GROUP, browses=True)]
    return [
        (Producer, for_producer(shared)),
        *((Consumer, properties) for properties in (member, *outsiders)),
        (AdminClient, for_admin(shared)),
    ]


def _conflict(client: Callable[[Any], object], properties: Properties) -> str:
    try:
        client(properties)
    except KafkaException as error:
        return without_preface(error.args[0].str()) if is_of_settings(error) else ""
    return ""


def is_of_settings(error: BaseException | None) -> bool:
    """Whether the properties are why no client was made, and not that threads are short, say."""
    return isinstance(error, KafkaException) and error.args[0].code() == KafkaError._INVALID_ARG


def without_preface(reason: str) -> str:
    """Why no client was made, without librdkafka's words that none was."""
    return _NOT_MADE.sub("", reason)


def with_password(properties: Properties) -> Properties:
    """What librdkafka takes, with the password as its file has it now. Raises `OSError` when that can't be read."""
    if _LOGIN_FILE not in properties:
        return properties
    others = {name: value for name, value in properties.items() if name != _LOGIN_FILE}
    return {**others, _LOGIN: read(Path(str(properties[_LOGIN_FILE])))}


def uses_tls(properties: Mapping[str, str | int | bool]) -> bool:
    """Whether connections are encrypted."""
    return _protocol(properties).endswith("SSL")


def uses_sasl(properties: Mapping[str, str | int | bool]) -> bool:
    """Whether there is a login."""
    return _protocol(properties).startswith("SASL_")


def mechanism(properties: Mapping[str, str | int | bool]) -> str:
    """How a login is done, in capitals; empty where nobody has said."""
    return str(properties.get("sasl.mechanism", properties.get("sasl.mechanisms", ""))).upper()


def _protocol(properties: Mapping[str, str | int | bool]) -> str:
    return str(properties.get("security.protocol", "PLAINTEXT")).upper()


def unconnected(shared: Mapping[str, str | int | bool]) -> Properties:
    """The properties of a client that asks nobody for anything; without the login where that is a token.

    For one it would go to the server that gives them, and wait for that.
    """
    given = {name: value for name, value in shared.items() if name != "bootstrap.servers"} | {"log_level": 0}
    if mechanism(given) != "OAUTHBEARER":
        return given
    others = {name: value for name, value in given.items() if not name.startswith(("sasl.", "enable.sasl."))}
    return {**others, "security.protocol": _protocol(given).removeprefix("SASL_")}


def token_fault(shared: Mapping[str, str | int | bool]) -> str:
    """What is missing where the login is a token, or can't be used; empty where nothing is. No client is made."""
    if not (uses_sasl(shared) and mechanism(shared) == "OAUTHBEARER"):
        return ""
    given = {name: value for name, value in shared.items() if name != _LOGIN_FILE}
    fault = _conflict(Producer, {**given, **_NEVER_TOGETHER, "log_level": 0})
    return fault if any(name in fault for name in _OF_LOGIN) else ""


def for_producer(shared: Mapping[str, str | int | bool], *, singly: bool = False) -> Properties:
    """The properties of a producer; `singly` it sends each record by itself."""
    return {**_PRODUCER, **shared, **({"batch.num.messages": 1} if singly else {})}


def for_admin(shared: Mapping[str, str | int | bool]) -> Properties:
    """The properties of a client for questions about the cluster."""
    return {**_ADMIN, **shared}


def for_outsider(shared: Mapping[str, str | int | bool], group: str, *, browses: bool = False) -> Properties:
    """The properties of a consumer that doesn't join the group, and reads on at one place or `browses` many."""
    given = _without_membership(shared)
    # It is polled when somebody asks, and is not made when this is shorter than the session, which it has none of.
    given.pop("max.poll.interval.ms", None)
    return {**(_BROWSER if browses else _OUTSIDER), **given, "group.id": group}


def for_member(shared: Mapping[str, str | int | bool], *, group: str, instance: str) -> Properties:
    """The properties of a group's member, still without its protocol."""
    static: Properties = {"group.instance.id": instance} if instance else {}
    return {**_CONSUMER, **shared, "group.id": group, **static}


def of_the_new_protocol(properties: Mapping[str, str | int | bool]) -> Properties:
    """The properties for KIP-848, where the brokers decide about sessions and assignments."""
    return {**_without_membership(properties), "group.protocol": "consumer"}


def of_the_classic_protocol(properties: Mapping[str, str | int | bool], session_s: float) -> Properties:
    """The properties for the protocol that every broker can; partitions move one by one there too."""
    membership: Properties = {
        "session.timeout.ms": session_ms(session_s),
        "heartbeat.interval.ms": beat_ms(session_s),
        "partition.assignment.strategy": "cooperative-sticky",
    }
    return {**membership, **properties, "group.protocol": "classic"}


def session_ms(session_s: float) -> int:
    """After so long without a beat a member is taken for dead."""
    return round(session_s * _MS)


def beat_ms(session_s: float) -> int:
    """How often the members of a group with such a session beat."""
    return min(session_ms(session_s) // _BEATS_A_SESSION, _LONGEST_BEAT_MS)


def _without_membership(properties: Mapping[str, str | int | bool]) -> Properties:
    # The client refuses to be made with these under KIP-848.
    taken = {"heartbeat.interval.ms", "session.timeout.ms", "group.protocol.type", "group.protocol"}
    return {name: value for name, value in properties.items() if name not in taken}


def _plain(value: str | int | bool | SecretStr) -> str | int | bool:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
