"""The names of what is kept. All of a stream is in one hash slot, that of its name: each step of ours is one script."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one stream."""

    stream: str

    def _key(self, *words: str) -> str:
        return ":".join((f"forebay:{{{self.stream}}}", *words))

    @property
    def about(self) -> str:
        """A hash: the stream's `id`, its number of `partitions`, the `version` of what is kept."""
        return self._key("about")

    @property
    def ends(self) -> str:
        """A hash: partition → next offset; `life:` partition → the server's life in which it was counted last."""
        return self._key("ends")

    @property
    def starts(self) -> str:
        """A hash: partition → first offset that is kept; nothing where nothing was deleted."""
        return self._key("starts")

    def log(self, partition: int) -> str:
        """A Redis stream with a group for each of ours: the records under the ids `offset-1`, since `0-0` is none."""
        return self._key("log", str(partition))

    def producer(self, name: str) -> str:
        """A hash: the number of the producer's last batch, and the first offset that it had in each partition."""
        return self._key("producer", name)

    @property
    def groups(self) -> str:
        """A set: the groups that ever had a member."""
        return self._key("groups")

    def members(self, group: str) -> str:
        """A sorted set: member → until when it counts as living."""
        return self._key("members", group)

    def leases(self, group: str) -> str:
        """A hash: partition → epoch, until when, whose; `life` and `quiet` are told in scripts.py."""
        return self._key("leases", group)

    @property
    def offsets(self) -> str:
        """A hash: partition:group → how far the group is."""
        return self._key("offsets")

    @property
    def notes(self) -> str:
        """A hash: partition:group → the note of the last commit."""
        return self._key("notes")

    @property
    def facts(self) -> str:
        """A hash: key → the last fact about it."""
        return self._key("facts")

    @property
    def order(self) -> str:
        """A sorted set: key → the place of its last fact."""
        return self._key("order")

    @property
    def gone(self) -> str:
        """A sorted set: key → when its fact was taken back."""
        return self._key("gone")

    @property
    def news(self) -> str:
        """The channel on which new records are announced: the partitions, parted by spaces."""
        return self._key("news")
