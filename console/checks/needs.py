"""What each side asks of the queue."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from forebay.console.settings import Settings
    from forebay.queues.findings import Needs, Right

#: `all` is one user for the ingest, the workers and the operators' commands. `canary` only looks.
Side = Literal["all", "ingest", "process", "canary"]

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
        group=settings.group if side in ("all", "process") else None,
        compacted=names.portals(settings.topic) if settings.keeps_portals else None,
        record_bytes=settings.max_body_bytes + _AROUND_A_BODY,
    )


def _rights_of_facts(settings: "Settings", side: Side) -> "dict[str, frozenset[Right]]":
    """Workers only ask what is known of a portal."""
    from forebay.schemas import names

    if not settings.keeps_portals:
        return {}
    rights: dict[Side, tuple[Right, ...]] = {"canary": (), "process": ("read",)}
    return {names.portals(settings.topic): frozenset(rights.get(side, ("read", "write")))}


def _rights(topic: str, side: Side) -> "dict[str, frozenset[Right]]":
    """At its start, each side sees to it that all streams are there, also those that it does not use."""
    from forebay.schemas import names

    both: frozenset[Right] = frozenset(("read", "write"))
    if side == "all":
        return dict.fromkeys(names.streams(topic), both)
    none: dict[str, frozenset[Right]] = dict.fromkeys(names.streams(topic), frozenset())
    if side == "ingest":
        return {**none, topic: frozenset(("write",)), names.quarantine(topic): frozenset(("write",))}
    if side == "canary":
        return {**none, topic: frozenset(("read",))}
    # A replay is read where it was given up, by the worker.
    reads: dict[str, frozenset[Right]] = dict.fromkeys((topic, names.audit(topic)), frozenset(("read",)))
    return {**none, **reads, names.parked(topic): both, names.dead(topic): both}
