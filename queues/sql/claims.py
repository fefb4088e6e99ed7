"""The rows of one member of a group: that it lives, what it owns, how far it is."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, or_, select, update

from forebay.queues.contract import Commit

from ..groups.confirmed import Confirmed
from ..groups.contract import Claimed
from ..groups.shares import GroupView
from .group_clock import Moment
from .schema import Stream
from .tables import claim, member, partition, record


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Statements of one member. All but `view` are to be run in a transaction of `Database.writing`."""

    group: str
    stream: Stream
    me: str
    session_ms: int

    @property
    def name(self) -> str:
        """Under which the members of the group take turns."""
        return f"group {self.group} of stream {self.stream.id}"

    def renew(self, connection: Connection, held: Mapping[int, int], at: Moment) -> dict[int, int]:
        """Say that we live, and prolong what we hold; returns what of it is still ours, and how far we are in it.

        What was said before the clock was set back holds for a session from now, as all else.
        """
        until = at.now_ms + self.session_ms
        for table in (member, claim):
            too_far = and_(self._in_group(table), table.c.expires_at > at.farthest_ms)
            connection.execute(update(table).where(too_far).values(expires_at=until))
        self._renew_member(connection, until)
        connection.execute(delete(member).where(self._in_group(member), member.c.expires_at <= at.over_ms))
        if not held:
            return {}
        connection.execute(
            update(claim).where(self._mine(), claim.c.partition.in_(list(held))).values(expires_at=until)
        )
        rows = connection.execute(select(claim.c.partition, claim.c.epoch, claim.c.offset).where(self._mine()))
        return {row.partition: row.offset for row in rows if held.get(row.partition) == row.epoch}

    def _renew_member(self, connection: Connection, until: int) -> None:
        ours = and_(self._in_group(member), member.c.member == self.me)
        renewed = connection.execute(update(member).where(ours).values(expires_at=until))
        if not renewed.rowcount:
            row = {"group": self.group, "stream": self.stream.id, "member": self.me, "expires_at": until}
            connection.execute(insert(member).values(row))

    def view(self, connection: Connection, held: Collection[int], at: Moment) -> GroupView:
        """The group as it is; what is in our name but not held (we lost it) is free."""
        living = select(member.c.member).where(self._in_group(member), member.c.expires_at > at.over_ms)
        taken = select(claim.c.partition).where(
            self._in_group(claim), claim.c.owner != self.me, claim.c.expires_at > at.over_ms
        )
        members = set(connection.execute(living).scalars())
        others = set(connection.execute(taken).scalars())
        free = set(range(self.stream.partitions)) - others - set(held)
        return GroupView(
            me=self.me,
            members=members,
            free=free,
            held=held,
            taken=others.intersection(held),
            partitions=self.stream.partitions,
        )

    def claim(
        self, connection: Connection, partitions: Collection[int], confirmed: Confirmed, at: Moment
    ) -> list[Claimed]:
        """Take partitions that the view of this transaction showed as free.

        None under an epoch under which we had it already, as a database that was set back would: what was asked to be
        committed then would count.
        """
        until = at.now_ms + self.session_ms
        return [self._claim(connection, number, confirmed.last_epoch(number), until) for number in partitions]

    def _claim(self, connection: Connection, number: int, last: int, until: int) -> Claimed:
        ours = and_(self._in_group(claim), claim.c.partition == number)
        found = connection.execute(select(claim.c.epoch, claim.c.offset, claim.c.note).where(ours)).one_or_none()
        if found is None:
            return self._claim_first(connection, number, last + 1, until)
        epoch = max(found.epoch, last) + 1
        renewed = {"owner": self.me, "epoch": epoch, "expires_at": until}
        connection.execute(update(claim).where(ours).values(renewed))
        return Claimed(partition=number, epoch=epoch, committed=Commit(offset=found.offset, note=bytes(found.note)))

    def _claim_first(self, connection: Connection, number: int, epoch: int, until: int) -> Claimed:
        place = and_(partition.c.stream == self.stream.id, partition.c.partition == number)
        first = connection.execute(select(partition.c.first_offset).where(place)).scalar_one()
        row = {"group": self.group, "stream": self.stream.id, "partition": number, "owner": self.me}
        row |= {"epoch": epoch, "expires_at": until, "offset": first, "note": b""}
        connection.execute(insert(claim).values(row))
        committed = Commit(offset=first, is_reset=self._has_records(connection, number))
        return Claimed(partition=number, epoch=epoch, committed=committed)

    def _has_records(self, connection: Connection, number: int) -> bool:
        here = and_(record.c.stream == self.stream.id, record.c.partition == number)
        return connection.execute(select(record.c.offset).where(here).limit(1)).first() is not None

    def commit(
        self, connection: Connection, epochs: Mapping[int, int], commits: Mapping[int, Commit], confirmed: Confirmed
    ) -> set[int]:
        """Store the commits of the partitions that are ours under these epochs, unless set back; returns which were."""
        stored = set()
        for number, epoch in epochs.items():
            values = {"offset": commits[number].offset, "note": commits[number].note}
            ours = and_(self._mine(), claim.c.partition == number, claim.c.epoch == epoch)
            ours = and_(ours, claim.c.offset >= confirmed.least(number))
            if connection.execute(update(claim).where(ours).values(values)).rowcount:
                stored.add(number)
        return stored

    def release(self, connection: Connection, epochs: Mapping[int, int]) -> None:
        """Let others have these partitions at once."""
        if not epochs:
            return
        held = or_(*(and_(claim.c.partition == number, claim.c.epoch == epoch) for number, epoch in epochs.items()))
        connection.execute(update(claim).where(self._mine(), held).values(owner=None, expires_at=0))

    def leave(self, connection: Connection) -> None:
        """Be no member any more, and own nothing."""
        connection.execute(update(claim).where(self._mine()).values(owner=None, expires_at=0))
        connection.execute(delete(member).where(self._in_group(member), member.c.member == self.me))

    def finished(self, connection: Connection, number: int) -> int:
        """The offset before which every group of the stream is finished with the partition; 0 when one never had it."""
        groups = select(func.count(claim.c.group.distinct())).where(claim.c.stream == self.stream.id)
        here = select(func.count(), func.min(claim.c.offset)).where(
            claim.c.stream == self.stream.id, claim.c.partition == number
        )
        count, least = connection.execute(here).one()
        return least if least is not None and count == connection.execute(groups).scalar_one() else 0

    def _mine(self) -> ColumnElement[bool]:
        return and_(self._in_group(claim), claim.c.owner == self.me)

    def _in_group(self, table: Table) -> ColumnElement[bool]:
        return and_(table.c.group == self.group, table.c.stream == self.stream.id)
