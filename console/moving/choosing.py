"""Which group's place counts: what it has finished is not moved."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from forebay.console.stillness import Ends

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
    differing: list[Lack] = field(default_factory=list)

    @property
    def told(self) -> str:
        """The groups in words."""
        return f"group{'s' if len(self.names) > 1 else ''} {', '.join(self.names)}"


async def chosen(side: Side, asked: str | None, since: Ends) -> Chosen:
    """The group that was asked for, or the settings' where there is no doubt. Raises `CantMove` where there is."""
    groups = set(await side.groups())
    if asked == ALL:
        return await _all(side, sorted(groups) or [side.settings.group], since)
    ours = asked or side.settings.group
    if asked is not None and groups and asked not in groups:
        raise CantMove(f"--group {asked}: {side.name} has no such group, but {', '.join(sorted(groups))}")
    parts = await _parts(side, ours, since)
    if groups <= {ours}:
        return Chosen(group=ours, names=[ours], parts=parts)
    lacks = [await _lack(name, await _parts(side, name, since)) for name in sorted(groups | {ours})]
    [own] = [one for one in lacks if one.group == ours]
    others = [one for one in lacks if one.sum != own.sum]
    if others and asked is None:
        raise CantMove(_told(side, lacks, groups))
    return Chosen(group=ours, names=[ours], parts=parts, differing=others)


async def _all(side: Side, names: list[str], since: Ends) -> Chosen:
    parts = [await _parts(side, name, since) for name in names]
    lacks = [await _lack(name, its) for name, its in zip(names, parts, strict=True)]
    united = [Union(parts=of_all) for of_all in zip(*parts, strict=True)]
    return Chosen(group=ALL, names=names, parts=united, differing=lacks)


async def _parts(side: Side, group: str, since: Ends) -> list[Lacking]:
    return await lacking(side.inspector, side.topic, group, since.get(side.topic))


async def _lack(group: str, parts: list[Lacking]) -> Lack:
    records = total = 0
    for part in parts:
        async for one in part.all():
            records += 1
            # A replay is one group's own, wherever its event stood.
            place = one.place if one.place >= 0 else hash((group, one.record.value))
            total = (total + hash((part.standing.partition, place))) % (1 << _SUM_BITS)
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
