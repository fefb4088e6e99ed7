"""What a group is: the sum of what its members have written into its stream, one after the other.

All read the same entries in the same order, and so agree on who lives, who owns what, and what is committed, without
a server that decides. An entry that comes too late (a commit of who lost the partition, a claim of what was taken) has
no effect, and every reader sees that it has none.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from forebay.queues.contract import Commit


class Owner(NamedTuple):
    """Who owns a partition, and since which entry."""

    member: str
    epoch: int
    #: The number of the last commit here: a second copy of an earlier one may stand behind it.
    number: int = 0

    def is_of(self, member: str, epoch: int) -> bool:
        """Whether it is this member, since this entry."""
        return (self.member, self.epoch) == (member, epoch)


class Sign(NamedTuple):
    """A member's last sign of life: which entry it is, for how long it is good, when it was written by its clock."""

    offset: int
    session_ms: int
    at_ms: int


@dataclass(kw_only=True)
class Group:
    """The state of a group."""

    members: dict[str, Sign] = field(default_factory=dict)
    owners: dict[int, Owner] = field(default_factory=dict)
    commits: dict[int, Commit] = field(default_factory=dict)

    def apply(self, offset: int, told: Mapping[str, Any]) -> set[int]:
        """Take the entry into account; the partitions whose commit was their owner's."""
        who, do = told.get("who", ""), told["do"]
        if do == "beat":
            self.members[who] = Sign(offset, told["session"], told["at"])
        elif do == "leave" or (do == "miss" and who in self.members and self.members[who].offset == told["seen"]):
            self._remove(who)
        elif do == "claim" and who in self.members:
            for partition in set(told["what"]) - self.owners.keys():
                self.owners[partition] = Owner(who, offset)
        elif do == "release":
            self._release(who, told["what"])
        elif do == "commit":
            return self._commit(who, told["number"], told["what"])
        return set()

    def _remove(self, who: str) -> None:
        self.members.pop(who, None)
        self.owners = {partition: owner for partition, owner in self.owners.items() if owner.member != who}

    def _release(self, who: str, what: Iterable[tuple[int, int]]) -> None:
        for partition, epoch in what:
            if (owner := self.owners.get(partition)) and owner.is_of(who, epoch):
                del self.owners[partition]

    def _commit(self, who: str, number: int, what: Iterable[tuple[int, int, int, str]]) -> set[int]:
        ours = {
            partition: Commit(offset=offset, note=b64decode(note))
            for partition, epoch, offset, note in what
            if (owner := self.owners.get(partition)) and owner.is_of(who, epoch)
        }
        for partition, one in ours.items():
            # Else it is a second copy, and the group has come further since the first one.
            if self.owners[partition].number < number:
                self.commits[partition] = one
                self.owners[partition] = self.owners[partition]._replace(number=number)
        return set(ours)

    def packed(self, at: int) -> bytes:
        """All of it, as an entry: what a reader begins with for whom earlier entries are not there any more."""
        told = {
            "do": "state",
            "at": at,
            "members": [(name, *sign) for name, sign in self.members.items()],
            "owners": [(partition, *owner) for partition, owner in self.owners.items()],
            "commits": [(partition, one.offset, _text(one.note)) for partition, one in self.commits.items()],
        }
        return orjson.dumps(told)

    @classmethod
    def unpacked(cls, told: Mapping[str, Any]) -> "Group":
        """What was packed."""
        return cls(
            members={name: Sign(*sign) for name, *sign in told["members"]},
            owners={partition: Owner(*owner) for partition, *owner in told["owners"]},
            commits={
                partition: Commit(offset=offset, note=b64decode(note)) for partition, offset, note in told["commits"]
            },
        )


def _text(note: bytes) -> str:
    return b64encode(note).decode()


def beat(who: str, session_ms: int, at_ms: int, number: int) -> bytes:
    """I am here; the number is for me, to know when I wrote it."""
    return orjson.dumps({"do": "beat", "who": who, "session": session_ms, "at": at_ms, "number": number})


def ask(who: str) -> bytes:
    """I don't know the group: whoever writes its states is to write one. Who doesn't know the word passes it over."""
    return orjson.dumps({"do": "ask", "who": who})


def leave(who: str) -> bytes:
    """I am not here any more, and own nothing."""
    return orjson.dumps({"do": "leave", "who": who})


def miss(who: str, seen: int) -> bytes:
    """Nothing came from this member since that entry, for longer than it said."""
    return orjson.dumps({"do": "miss", "who": who, "seen": seen})


def claim(who: str, partitions: Iterable[int]) -> bytes:
    """These are mine, if they are nobody's."""
    return orjson.dumps({"do": "claim", "who": who, "what": list(partitions)})


def release(who: str, epochs: Mapping[int, int]) -> bytes:
    """These are mine no more."""
    return orjson.dumps({"do": "release", "who": who, "what": list(epochs.items())})


def commit(who: str, number: int, epochs: Mapping[int, int], commits: Mapping[int, Commit]) -> bytes:
    """So far have I come, in what is mine; each commit of a member has a greater number than those before."""
    what = [(at, epoch, commits[at].offset, _text(commits[at].note)) for at, epoch in epochs.items()]
    return orjson.dumps({"do": "commit", "who": who, "number": number, "what": what})
