"""What is known of the events of a portal that were kept nowhere."""

from dataclasses import dataclass, replace

#: Why events may be missing: their calls were answered 503, under the same word.
NOT_KEPT = "not_kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Calls of one portal that were refused since it was told last, from the first to the last."""

    portal: str
    member_id: str | None
    #: Of the first of the calls: the endpoint that took it, and whether the key was proved.
    endpoint: str
    verified: bool
    from_ms: int
    to_ms: int
    calls: int

    def with_others(self, other: "Gap") -> "Gap":
        """Both of them as one."""
        return replace(
            self,
            from_ms=min(self.from_ms, other.from_ms),
            to_ms=max(self.to_ms, other.to_ms),
            calls=self.calls + other.calls,
        )

    def without(self, told: "Gap") -> "Gap":
        """What is left when the portal was told of the gap as it was then; no calls when that is all."""
        # Where the clock was set back meanwhile, what is left may have begun as early as any of it.
        is_behind = self.from_ms == told.from_ms and self.to_ms > told.to_ms
        return replace(self, from_ms=told.to_ms if is_behind else self.from_ms, calls=self.calls - told.calls)
