"""What each side asks of the queue."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from forebay.console.settings import Settings
    from forebay.queues.findings import Needs, Right

#: `all` is one user for the ingest, the workers and the operators' commands.
Side = Literal["all", "ingest", "process"]

#: What a record has beside the body that it came from: its other fields, the headers, Avro.
_AROUND_A_BODY = 65_536


def needs(settings: "Settings", side: Side = "all") -> "Needs":
    """The needs of a side."""
    from forebay.queues.findings import Needs
    from forebay.schemas import names

    return Needs(
        streams=_rights(settings.topic, side) | _rights_of_facts(settings, side),
        events=settings.topic,
        partitions=settings.partitions,
        group=None if side == "ingest" else settings.group,
        compacted=names.portals(settings.topic) if settings.keeps_portals else None,
        record_bytes=settings.max_body_bytes + _AROUND_A_BODY,
    )


def _rights_of_facts(settings: "Settings", side: Side) -> "dict[str, frozenset[Right]]":
    """Workers only ask what is known of a portal."""
    from forebay.schemas import names

    rights: tuple[Right, ...] = ("read",) if side == "process" else ("read", "write")
    return {names.portals(settings.topic): frozenset(rights)} if settings.keeps_portals else {}


def _rights(topic: str, side: Side) -> "dict[str, frozenset[Right]]":
    """At its start, each side sees to it that all streams are there, also those that it does not use."""
    from forebay.schemas import names

    both: frozenset[Right] = frozenset(("read", "write"))
    if side == "all":
        return dict.fromkeys(names.streams(topic), both)
    none: dict[str, frozenset[Right]] = dict.fromkeys(names.streams(topic), frozenset())
    if side == "ingest":
        return {**none, topic: frozenset(("write",)), names.quarantine(topic): frozenset(("write",))}
    # A replay is read where it was given up, by the worker.
    reads: dict[str, frozenset[Right]] = dict.fromkeys((topic, names.audit(topic)), frozenset(("read",)))
    return {**none, **reads, names.parked(topic): both, names.dead(topic): both}
