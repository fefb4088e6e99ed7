"""The world of a group that an administrator moves back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forebay.processors.worker import Worker
from forebay.queues.contract import Commit
from tests.parking.books import Books, kind_of
from tests.parking.moody import TOPIC
from tests.parking.world import World


class MovedBooks(Books):
    """Of events that fold only the last counts: what waited folds with what comes again, which may be older."""

    def _check_order(self, portal: str, number: int, stands_for: Sequence[int], folded: int) -> None:
        faults = list(self.faults)
        super()._check_order(portal, number, stands_for, folded)
        if kind_of(portal).objects:
            self.faults[:] = faults


@dataclass(kw_only=True)
class MovedWorld(World):
    """What is behind the place of the group comes again, and that is no fault."""

    def _open_books(self) -> Books:
        return MovedBooks(time=self.loop.time)

    def move_back(self, partition: int, part: float) -> None:
        """With no worker running, to a part of the partition that it had finished."""
        for worker in list(self.workers):
            self.kill(worker, 0)
        if (commit := self.commits().get(partition)) is None:
            return
        self.commits()[partition] = Commit(offset=int(commit.offset * part))
        self._let_come_again(portal for portal in self.sent if self.partition(portal) == partition)

    def kill(self, worker: Worker, zombies: int) -> None:
        """As ever. Where it had committed nothing, who comes next can't tell that from a group that was moved again."""
        super().kill(worker, zombies)
        committed = [portal for portal in self.sent if self.partition(portal) in self.commits()]
        self._let_come_again(portal for portal in committed if self.place(portal).begins_anew)

    def _let_come_again(self, portals: Iterable[str]) -> None:
        self.books.excused |= {(portal, number) for portal in portals for number in range(1, self.sent[portal] + 1)}

    def _is_well(self) -> bool:
        ours = [partition for worker in self.workers for partition in worker.ownership]
        waits = any(one.waiting or one.lanes or (one.parking and one.parking.portals) for one in ours)
        ends = {number: log[-1].offset + 1 for number, log in enumerate(self.queue.logs[TOPIC]) if log}
        return super()._is_well() and not waits and all(self.commits()[at].offset == end for at, end in ends.items())
