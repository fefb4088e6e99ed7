"""Which group's place counts: what it has finished is not moved."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from forebay.console.orders.orders import is_for_workers, orders_between
from forebay.queues.moves.marker import Ends
from forebay.schemas import names

from .errors import CantMove
from .lacking import Lacking, lacking
from .sides import Side
from .union import Union

#: Asks for what any group lacks; no group is called so.
ALL = "*"

#: Enough to tell two sets of events from each other.
_SUM_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """What a group lacks: how many records, and a sum by which two groups that lack the same are known."""

    group: str
    records: int
    sum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What was asked for, the groups that it means, their unfinished parts, and what groups lack that differ."""

    #: A group's name, or `ALL`.
    group: str
    names: list[str]
    parts: Sequence[Lacking | Union]
    #: Those of every group: what any of them has ordered or holds counts, whoever's events are moved.
    every: Sequence[Lacking]
    differing: list[Lack] = field(default_factory=list)

    @property
    def told(self) -> str:
        """The groups in words."""
        return f"group{'s' if len(self.names) > 1 else ''} {', '.join(self.names)}"


async def chosen(side: Side, asked: str | None, since: Ends) -> Chosen:
    """The group that was asked for, or the settings' where there is no doubt. Raises `CantMove` where there is."""
    groups = set(await side.groups())
    found = await _chosen(side, groups, asked, since)
    # Of one that never was there something may be ordered all the same.
    others = await _ordered_groups(side) - groups - {*found.names}
    return replace(found, every=[*found.every, *_every(await _of_all(side, others, since))])


async def _chosen(side: Side, groups: set[str], asked: str | None, since: Ends) -> Chosen:
    if asked == ALL:
        return await _all(await _of_all(side, groups or {side.settings.group}, since))
    ours = asked or side.settings.group
    if asked is not None and groups and asked not in groups:
        raise CantMove(f"--group {asked}: {side.name} has no such group, but {', '.join(sorted(groups))}")
    of_all = await _of_all(side, groups | {ours}, since)
    found = Chosen(group=ours, names=[ours], parts=of_all[ours], every=_every(of_all))
    if groups <= {ours}:
        return found
    lacks = [await _lack(name, its) for name, its in of_all.items()]
    [own] = [one for one in lacks if one.group == ours]
    others = [one for one in lacks if one.sum != own.sum]
    if others and asked is None:
        raise CantMove(_told(side, lacks, groups))
    return replace(found, differing=others)


async def _ordered_groups(side: Side) -> set[str]:
    """The groups for which something was ever ordered."""
    found = set()
    for partition, kept in (await side.inspector.bounds(names.audit(side.topic))).items():
        async for order in orders_between(side.inspector, side.topic, partition, kept.start, kept.end):
            if is_for_workers(order, side.topic):
                found.add(order.group)
    return found


async def _all(of_all: Mapping[str, list[Lacking]]) -> Chosen:
    lacks = [await _lack(name, its) for name, its in of_all.items()]
    united = [Union(parts=of_one) for of_one in zip(*of_all.values(), strict=True)]
    return Chosen(group=ALL, names=list(of_all), parts=united, every=_every(of_all), differing=lacks)


async def _of_all(side: Side, groups: Collection[str], since: Ends) -> dict[str, list[Lacking]]:
    moved = since.get(side.topic)
    return {name: await lacking(side.inspector, side.topic, name, moved) for name in sorted(groups)}


def _every(of_all: Mapping[str, list[Lacking]]) -> list[Lacking]:
    return [part for parts in of_all.values() for part in parts]


async def _lack(group: str, parts: list[Lacking]) -> Lack:
    records = total = 0
    for part in parts:
        async for one in part.all():
            records += 1
            # A replay is one group's own, wherever its event stood.
            place = one.place if one.place >= 0 else hash((group, one.record.value))
            total = (total + hash((part.view.partition, place))) % (1 << _SUM_BITS)
    return Lack(group=group, records=records, sum=total)


def _told(side: Side, lacks: list[Lack], groups: Collection[str]) -> str:
    listed = [
        f"  - {one.group}: {one.records:,} not finished" + ("" if one.group in groups else " (it was never there)")
        for one in lacks
    ]
    return "\n".join(
        [
            f"the groups of {side.name} have not finished the same events, and the new queue has one order for all:",
            *listed,
            "let all of them finish (with the ingest stopped); or say with --group whose events are moved, and the",
            "others lack theirs; or --all for what any of them lacks, and the others get it a second time",
        ]
    )
