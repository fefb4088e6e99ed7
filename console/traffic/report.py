"""What `forebay send` says at the end."""

from collections.abc import Sequence
from dataclasses import dataclass

from .load import Outcome
from .send_audit import Audit

#: Answers that are as they should be.
_GOOD = "200 accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a load, and the audit of the queue or the reason why there is none."""

    count: int
    outcome: Outcome
    audit: Audit | None
    unchecked: str | None = None

    @property
    def good(self) -> bool:
        """Whether every event was sent and accepted and, as far as the queue could be read, stands in it in order."""
        all_accepted = self.outcome.answers[_GOOD] == self.count
        return all_accepted and (self.audit is None or self.audit.clean)

    def row(self) -> dict[str, object]:
        """The report for programs."""
        outcome, audit = self.outcome, self.audit
        return {
            "asked": self.count,
            "sent": outcome.sent,
            "accepted": len(outcome.accepted),
            "seconds": round(outcome.seconds, 3),
            "rate": round(outcome.sent / outcome.seconds, 1) if outcome.seconds else 0.0,
            "latency_ms": percentiles_ms(outcome.latencies_s),
            "answers": dict(outcome.answers.most_common()),
            "checked": audit is not None,
            "not_checked_because": self.unchecked,
            "lost": audit and audit.lost,
            "out_of_order": audit and audit.out_of_order,
            "changed": audit and audit.changed,
            "twice": audit and audit.twice,
        }

    def lines(self) -> list[str]:
        """The report for people."""
        row, outcome = self.row(), self.outcome
        latencies = ", ".join(f"{name} {value:.1f}" for name, value in percentiles_ms(outcome.latencies_s).items())
        answers = [f"  {count:>9,}  {answer}" for answer, count in outcome.answers.most_common()]
        return [
            f"sent {outcome.sent:,} of {self.count:,} in {outcome.seconds:.1f} s: {row['rate']:,} a second",
            f"latency ms: {latencies or 'none'}",
            "answers:",
            *answers,
            self._verdict(),
        ]

    def _verdict(self) -> str:
        if self.audit is None:
            return f"not checked: {self.unchecked}"
        counts = f"{self.audit.lost:,} lost, {self.audit.out_of_order:,} out of order"
        more = ((self.audit.changed, "changed on the way"), (self.audit.twice, "twice (the same id)"))
        return ", ".join([counts, *(f"{count:,} {what}" for count, what in more if count)])


def percentiles_ms(latencies_s: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99 and max in milliseconds; empty when nothing was measured."""
    ordered = sorted(latencies_s)
    if not ordered:
        return {}
    last = len(ordered) - 1
    ranks = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[int(rank * last)] * 1000, 3) for name, rank in ranks.items()}
