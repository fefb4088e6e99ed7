"""What the member's thread knows of a partition that is ours."""

from dataclasses import dataclass

from .leader_epochs import LeaderEpochs


@dataclass(slots=True, kw_only=True)
class Assignment:
    """One assignment of it: one that comes later has another epoch."""

    epoch: int
    #: Behind the last record that was read.
    place: int
    leaders: LeaderEpochs
    #: Whether a record of it came, so that the client has surely begun with it.
    is_begun: bool = False
