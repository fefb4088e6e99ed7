"""Whether a topic keeps events as they should be kept, and the command that makes it so."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from forebay.queues.findings import Finding, Needs, State
from forebay.queues.kafka.layout import (
    AFTER,
    BEFORE,
    COPIES,
    IN_SYNC,
    LETTER_ROOM_BYTES,
    NO_LIMIT,
    OF_BOTH_SIDES,
    copies_for,
)

from .questions import Known

_FOREVER = -1
_HOUR_MS = 3_600_000

#: What is shredded is expected to be gone by then.
_SHREDDED_MS = 24 * _HOUR_MS

#: With less, a partition may be full of what came within an hour.
_SMALLEST_BYTES = 1 << 30

#: With less, a weekend of trouble, or even a night, takes events that nobody has handled.
_SHORTEST_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """A setting of a topic, when it is well, and what else follows; `wants` is what it should be."""

    setting: str
    is_well: Callable[[str], bool]
    follows: str
    wants: str
    state: State = "warn"


def weaknesses(name: str, topic: Known, needs: Needs, brokers: int, servers: str) -> Iterator[Finding]:
    """What is wrong with a topic that is there."""
    is_compacted = name == needs.compacted
    if is_compacted and topic.partitions != 1:
        yield _several(name, topic.partitions)
    elif topic.partitions != needs.partitions_of(name):
        yield _partitions(name, topic.partitions, needs.partitions)
    if topic.leaderless:
        which = ", ".join(map(str, topic.leaderless))
        detail = f"partitions {which} have no leader: nothing of them can be written or read"
        yield Finding(check=f"topic {name}", state="fail", detail=detail, remedy="look after the brokers")
    yield from _copies(name, topic, brokers)
    yield from _in_sync(name, topic)
    if topic.config is None:
        detail = "its settings can't be seen, so they were not checked"
        remedy = "give our user DescribeConfigs on it (kafka-acls)"
        yield Finding(check=f"topic {name}", state="warn", detail=detail, remedy=remedy)
        return
    rules = _rules_of_facts(topic) if is_compacted else _rules(topic, needs, takes_events=name == needs.events)
    for rule in rules:
        if rule.setting in topic.config and not rule.is_well(topic.config[rule.setting]):
            yield _finding(name, rule, topic.config[rule.setting], servers)


def kept(name: str, topic: Known) -> Iterator[Finding]:
    """For how long the topic keeps an event, where we may see that and it is long enough."""
    for_ms = (topic.config or {}).get("retention.ms")
    if for_ms is not None and _lasts(for_ms):
        how_long = "for ever" if int(for_ms) == _FOREVER else f"for {int(for_ms) / _SHORTEST_MS:,.3g} days"
        detail = f"retention.ms is {for_ms}: an event is kept {how_long}, handled or not"
        yield Finding(check=f"topic {name}", state="ok", detail=detail)


def _several(name: str, has: int) -> Finding:
    return Finding(
        check=f"topic {name}",
        state="fail",
        detail=f"has {has} partitions, and facts about portals need one order: only the first is read",
        remedy="stop everything, delete the topic, and let `forebay topics ensure` make it; portals install again",
    )


def _partitions(name: str, has: int, wanted: int) -> Finding:
    remedy = f"set partitions to {has}"
    if wanted > has:
        remedy += f", or see forebay topics grow --partitions {wanted}"
        if has == 1:
            remedy += (
                "; one that brokers made by themselves (auto.create.topics.enable) and that is empty, delete, and "
            )
            remedy += "let forebay topics ensure make it"
    else:
        remedy += f"; where somebody has added them to this topic alone, forebay topics grow --partitions {has} first"
    return Finding(
        check=f"topic {name}",
        state="fail",
        detail=f"has {has} partitions, and the setting partitions says {wanted}",
        remedy=remedy,
    )


def too_few(brokers: int) -> Iterator[Finding]:
    """The finding about a cluster that can't keep as many copies as it should."""
    if brokers < COPIES:
        detail = f"a cluster of {brokers} can't keep {COPIES} copies of an event: a lost disk may lose events"
        remedy = f"run {COPIES} brokers or more in production"
        yield Finding(check="brokers", state="warn", detail=detail, remedy=remedy)


def _copies(name: str, topic: Known, brokers: int) -> Iterator[Finding]:
    if topic.copies < COPIES <= brokers:
        copies = "1 copy" if topic.copies == 1 else f"{topic.copies} copies"
        detail = f"{copies} of each event, where {COPIES} are possible: a lost disk may lose events"
        remedy = f"give it {COPIES} copies with kafka-reassign-partitions"
        yield Finding(check=f"topic {name}", state="warn", detail=detail, remedy=remedy)


def _in_sync(name: str, topic: Known) -> Iterator[Finding]:
    """Of partitions that have a leader."""
    least = int((topic.config or {}).get("min.insync.replicas", 1))
    behind = {number: count for number, count in topic.behind.items() if number not in topic.leaderless}
    which = ", ".join(map(str, behind))
    stuck = ", ".join(str(number) for number, count in behind.items() if count < least <= topic.copies)
    remedy = "look after the brokers that are away, and don't stop another one before they are back"
    if stuck:
        detail = (
            f"partitions {stuck} have fewer copies in sync than min.insync.replicas ({least}): nothing can be written"
        )
        yield Finding(check=f"topic {name}", state="fail", detail=detail, remedy=remedy)
    elif behind:
        detail = f"partitions {which} have copies that are away or behind"
        yield Finding(check=f"topic {name}", state="warn", detail=detail, remedy=remedy)


def _rules(topic: Known, needs: Needs, *, takes_events: bool) -> Iterator[_Rule]:
    yield from _rules_of_copies(topic)
    yield _Rule(
        setting="cleanup.policy",
        is_well=lambda value: value == "delete",
        follows="all but a portal's last event will be thrown away",
        wants="delete",
        state="fail",
    )
    yield _Rule(
        setting="message.timestamp.type",
        is_well=lambda value: value == "CreateTime",
        follows="the time of receipt is lost, and lag and replays go by the brokers' clock",
        wants="CreateTime",
    )
    yield from _rules_of_time(topic.config or {})
    yield _largest(needs, takes_events=takes_events)
    yield _retention(takes_events=takes_events)
    yield _room(takes_events=takes_events)


def _rules_of_time(config: Mapping[str, str]) -> Iterator[_Rule]:
    limits = {BEFORE: "what has waited longer, in a spool or parked,", AFTER: "what is so far ahead"}
    if config.get(BEFORE) != NO_LIMIT:
        # Else it counts for nothing, where there is one.
        limits[OF_BOTH_SIDES] = "what has waited longer, or is so far ahead,"
    for setting, which in limits.items():
        yield _Rule(
            setting=setting,
            is_well=lambda value: int(value) >= int(NO_LIMIT),
            follows=f"{which} is refused",
            wants=NO_LIMIT,
        )


def _rules_of_facts(topic: Known) -> Iterator[_Rule]:
    yield from _rules_of_copies(topic)
    yield _Rule(
        setting="cleanup.policy",
        is_well=lambda value: value == "compact",
        follows="portals whose tokens were learned long ago will be refused",
        wants="compact",
        state="fail",
    )
    yield _Rule(
        setting="max.compaction.lag.ms",
        is_well=lambda value: int(value) <= _SHREDDED_MS,
        follows="a portal's data key may stay on the brokers' disks for more than a day after it was shredded",
        wants=str(_HOUR_MS),
    )


def _rules_of_copies(topic: Known) -> Iterator[_Rule]:
    in_sync = min(IN_SYNC, copies_for(topic.copies))
    yield _Rule(
        setting="min.insync.replicas",
        is_well=lambda value: int(value) <= topic.copies,
        follows=f"more than the {topic.copies} copies that there are, so nothing can be written",
        wants=str(in_sync),
        state="fail",
    )
    yield _Rule(
        setting="min.insync.replicas",
        is_well=lambda value: int(value) >= in_sync or int(value) > topic.copies,
        follows="an event counts as kept with one broker alone, which may then be lost",
        wants=str(in_sync),
    )
    yield _Rule(
        setting="unclean.leader.election.enable",
        is_well=lambda value: value == "false",
        follows="a broker that lacks acknowledged events may become the leader",
        wants="false",
    )


def _largest(needs: Needs, *, takes_events: bool) -> _Rule:
    wants = needs.record_bytes if takes_events else needs.record_bytes + LETTER_ROOM_BYTES
    follows = "larger ones are refused" if takes_events else "a portal with a larger one waits for ever"
    return _Rule(
        setting="max.message.bytes",
        is_well=lambda value: int(value) >= wants,
        follows=f"calls of max_body_bytes may need {wants} here, and {follows}",
        wants=str(wants),
    )


def _retention(*, takes_events: bool) -> _Rule:
    if takes_events:
        return _Rule(
            setting="retention.ms",
            is_well=_lasts,
            follows="events that no worker has handled are gone after less than a day",
            wants=str(7 * _SHORTEST_MS),
        )
    return _Rule(
        setting="retention.ms",
        is_well=lambda value: int(value) == _FOREVER,
        follows="what waits for an operator vanishes after that",
        wants=str(_FOREVER),
    )


def _lasts(retention_ms: str) -> bool:
    return int(retention_ms) == _FOREVER or int(retention_ms) >= _SHORTEST_MS


def _room(*, takes_events: bool) -> _Rule:
    which = "what no worker has handled" if takes_events else "what waits for an operator"
    least = _SMALLEST_BYTES if takes_events else math.inf
    return _Rule(
        setting="retention.bytes",
        is_well=lambda value: int(value) == _FOREVER or int(value) >= least,
        follows=f"a partition that is larger loses its oldest records, also {which}",
        wants=str(_FOREVER),
    )


def _finding(name: str, rule: _Rule, value: str, servers: str) -> Finding:
    return Finding(
        check=f"topic {name}",
        state=rule.state,
        detail=f"{rule.setting} is {value}: {rule.follows}",
        remedy=f"kafka-configs --bootstrap-server {servers} --alter --entity-type topics --entity-name {name} "
        f"--add-config {rule.setting}={rule.wants}",
    )
