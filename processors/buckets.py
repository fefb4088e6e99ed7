"""What portals have left of their budgets, counted where their partition is owned."""

from .budgets import Budget

#: What a timer that fires a moment too early leaves to be waited for isn't worth another one.
_NEARLY = 1e-6

#: Portals that use nothing are forgotten when there are more than so many, or twice what was left the last time.
_FORGET_FROM = 1024


class Buckets:
    """Of one assignment of a partition. A bucket fills at its budget's rate, and a call takes one from it.

    Nobody knows what the owner before used. So every bucket is empty at the beginning: over the change of owners, too,
    a portal gets no more calls in t seconds than `burst + rate * t`.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        #: Budget and portal → what was left, and when.
        self._left: dict[tuple[Budget, str], tuple[float, float]] = {}
        self._forget_at = _FORGET_FROM

    def wait_s(self, budget: Budget, portal: str, now: float) -> float:
        """Seconds until a call may begin; 0 when it may now."""
        missing = 1 - self._has(budget, portal, now)
        return missing / budget.per_s if missing > _NEARLY else 0.0

    def spend(self, budget: Budget, portal: str, now: float) -> None:
        """A call begins."""
        has = self._has(budget, portal, now)
        self._left[budget, portal] = max(0.0, has - 1), now
        if len(self._left) >= self._forget_at:
            self._forget(now)

    def give_back(self, budget: Budget, portal: str) -> None:
        """There was no call after all."""
        left, at = self._left.get((budget, portal), (0.0, self._began))
        self._left[budget, portal] = left + 1, at

    def _has(self, budget: Budget, portal: str, now: float) -> float:
        left, at = self._left.get((budget, portal), (0.0, self._began))
        return min(budget.burst, left + (now - at) * budget.per_s)

    def _forget(self, now: float) -> None:
        # A full bucket is what one would be that nobody used, once those are full.
        self._left = {
            (budget, portal): left
            for (budget, portal), left in self._left.items()
            if self._has(budget, portal, now) < budget.burst or (now - self._began) * budget.per_s < budget.burst
        }
        self._forget_at = max(_FORGET_FROM, 2 * len(self._left))
