"""How a topic of ours is made: its copies, and its settings."""

from collections.abc import Mapping

from confluent_kafka import KafkaError

#: Copies of a partition where the cluster has so many brokers; two of them then hold what was acknowledged.
COPIES = 3
IN_SYNC = 2

#: The largest body that the ingest takes by default, with room for what Forebay adds.
_LARGEST_EVENT_BYTES = 2_097_152

#: A dead letter says in headers what happened, and a parked record where it stood. One that did not fit would hold up
#: its portal for ever.
LETTER_ROOM_BYTES = 65_536
_LARGEST_LETTER_BYTES = _LARGEST_EVENT_BYTES + LETTER_ROOM_BYTES

#: Of a time in milliseconds. The longest that there is would be taken for unset by Kafka 3.6 to 3.9, which then go by
#: what the cluster has for both sides of a record's time.
NO_LIMIT = "9223372036854775806"

#: Brokers before 3.6 have one limit for both sides (KIP-937).
_OF_EACH_SIDE = BEFORE, AFTER = "message.timestamp.before.max.ms", "message.timestamp.after.max.ms"
OF_BOTH_SIDES = "message.timestamp.difference.max.ms"

_ALWAYS = {
    # The time of a record is that of its receipt. A host whose clock is ahead must not lose events by it, and what has
    # waited long, in a spool or for an operator, must still be taken.
    "message.timestamp.type": "CreateTime",
    **dict.fromkeys(_OF_EACH_SIDE, NO_LIMIT),
    "cleanup.policy": "delete",
}

#: What a key said before must be gone soon after: it may be a data key that was shredded. What was taken back is told
#: for a week to who was away meanwhile.
_COMPACTED = {
    "cleanup.policy": "compact",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "3600000",
    "segment.ms": "3600000",
    "delete.retention.ms": "604800000",
}


def copies_for(brokers: int) -> int:
    """How many copies a topic of ours gets in a cluster of so many brokers."""
    return COPIES if brokers >= COPIES else 1


def config_for(copies: int, *, takes_events: bool) -> dict[str, str]:
    """The settings of a topic of ours."""
    config = {**_ALWAYS, "min.insync.replicas": str(min(IN_SYNC, copies))}
    if takes_events:
        return {**config, "max.message.bytes": str(_LARGEST_EVENT_BYTES)}
    # What waits for an operator must not vanish because none came, nor because much does: a cluster that many share has
    # a limit for both.
    return {
        **config,
        "max.message.bytes": str(_LARGEST_LETTER_BYTES),
        "retention.ms": "-1",
        "retention.bytes": "-1",
    }


def config_for_facts(copies: int) -> dict[str, str]:
    """The settings of the topic of facts about portals."""
    return {**_ALWAYS, **_COMPACTED, "min.insync.replicas": str(min(IN_SYNC, copies))}


def is_too_new(error: KafkaError) -> bool:
    """Whether brokers refuse a topic since they are too old to know one of its settings."""
    return error.code() == KafkaError.INVALID_CONFIG and any(name in error.str() for name in _OF_EACH_SIDE)


def for_older_brokers(config: Mapping[str, str] | None) -> dict[str, str]:
    """The same settings as such brokers know them."""
    known = {name: value for name, value in (config or {}).items() if name not in _OF_EACH_SIDE}
    return {**known, OF_BOTH_SIDES: NO_LIMIT}


def planned(name: str, partitions: int, copies: int) -> str:
    """The sentence about a topic that is to be made."""
    if copies < COPIES:
        kept = "1 copy, since the cluster has fewer than 3 brokers: a lost disk loses events"
    else:
        kept = f"{copies} copies, {IN_SYNC} of them in sync before an event counts as kept"
    return f"stream {name} with {partitions} partitions, {kept}"
