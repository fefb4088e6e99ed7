"""The report of the faults: a row each, as JSON for programs and as Markdown for people.

A run replaces the rows of the faults that it made, and leaves the others: so a report can be made piece by piece.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.order import Verdict

#: What an answer should take at most, as the promise says it: during the fault, and once the breaker is open.
_P99_MS, _P99_OPEN_MS = 250, 10

#: So long the load goes on after a fault, for the ingest to be well again under it.
RECOVERY_S = 90.0

_HEAD = """# What Forebay does when things break

Written by `make faults`: every row is a fault on real processes, made while simulated portals send 500 events a second,
unless the row says otherwise: 5,000 portals, unevenly (Zipf 1.1), each event numbered for its portal, and a portal's
next one sent when the one before was answered. Afterwards everything that was acknowledged is looked up in the queue.
Events that are lost, stand out of their portal's order, or stand twice more often than the bound says, make the run
fail; times never do. They are of a machine with two cores on which brokers, ingest and load run together. What has a
machine of its own elsewhere, a broker that is the only one or a stranger who calls, gets what they leave it (nice 10).

- **lost**: answered with 200, and in the end neither in the queue nor in quarantine.
- **order**: answered with 200, and behind an event of its portal that was sent after that answer.
- **twice**: stands in the queue, or came to a handler, once more with the same id / the most that the fault may cause,
  where that can be said.
- **503**, **none**: answers that said that nothing was kept, and calls whose connection broke.
- **p50, p99, max**: of the answers while the fault lasted, in milliseconds. **open**: the p99 from when every process
  of the ingest knew that the queue was gone, to the end of the fault; empty where they never knew it all at once.
- **bare**: the p99, in the same time, of writing a page to a file and syncing it, by a process that does nothing else,
  50 times a second: what disk and processors cost here without Forebay.
- **recovered**: seconds from the end of the fault until the ingest said `ok`, with everything in the queue, under the
  same load and without anybody's help; empty where it did not say so within 90 s under that load, as where the brokers
  are late again and again. Without the load it has to.

"""

_COLUMNS = (
    "fault",
    "events",
    "200",
    "lost",
    "order",
    "twice",
    "503",
    "none",
    "p50",
    "p99",
    "max",
    "open",
    "bare",
    "recovered",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A fault, and what came of it. Times in milliseconds, recovery in seconds; None where there is none."""

    fault: str
    events: int = 0
    acknowledged: int = 0
    lost: int = 0
    out_of_order: int = 0
    doubled: int = 0
    #: None where it depends on more than is known here.
    doubled_bound: int | None = 0
    refused: int = 0
    unanswered: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None
    open_p99_ms: float | None = None
    bare_p99_ms: float | None = None
    recovered_s: float | None = None
    #: What the row's figures leave out; for a fault that can't be made here, the reason.
    note: str = ""
    is_made: bool = True

    @classmethod
    def handled(cls, fault: str, events: int, verdict: Verdict, *, bound: int | None, note: str) -> "Row":
        """What workers have made of so many events. There are no calls, and no times of theirs."""
        return cls(
            fault=fault,
            events=events,
            acknowledged=events,
            lost=len(verdict.lost),
            out_of_order=len(verdict.out_of_order),
            doubled=len(verdict.again),
            doubled_bound=bound,
            note=note,
        )

    @property
    def cells(self) -> list[str]:
        """As they stand in the table."""
        if not self.is_made:
            return [self.fault, "not made here", *[""] * (len(_COLUMNS) - 2)]
        counts = [f"{one:,}" for one in (self.events, self.acknowledged, self.lost, self.out_of_order)]
        bound = "" if self.doubled_bound is None else f" / {self.doubled_bound:,}"
        counts += [f"{self.doubled:,}{bound}", f"{self.refused:,}", f"{self.unanswered:,}"]
        times = [_time(one) for one in (self.p50_ms, self.p99_ms, self.max_ms, self.open_p99_ms, self.bare_p99_ms)]
        return [self.fault, *counts, *times, "" if self.recovered_s is None else f"{self.recovered_s:.1f} s"]


def _time(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:,.1f}" if milliseconds < 10 else f"{milliseconds:,.0f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where the two files are."""

    data: Path
    text: Path

    def add(self, row: Row) -> None:
        """Write the row, in the place of what stood there for this fault."""
        rows = self._rows() | {row.fault: asdict(row)}
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self.data.write_text(json.dumps(list(rows.values()), indent=1) + "\n", "utf-8")
        self.text.write_text(rendered([Row(**one) for one in rows.values()]), "utf-8")

    def _rows(self) -> dict[str, dict[str, Any]]:
        found = json.loads(self.data.read_text("utf-8")) if self.data.exists() else []
        return {one["fault"]: one for one in found}


def rendered(rows: Sequence[Row]) -> str:
    """The report for people."""
    lines = ["| " + " | ".join(cells) + " |" for cells in ([*_COLUMNS], ["---"] * len(_COLUMNS))]
    lines += ["| " + " | ".join(row.cells) + " |" for row in rows]
    return _HEAD + "\n".join([*lines, "", *_summary(rows), *_notes(rows)])


def _summary(rows: Sequence[Row]) -> list[str]:
    made = [row for row in rows if row.is_made]
    quick = [row for row in made if row.p99_ms is not None and row.p99_ms <= _P99_MS]
    opened = [row for row in made if row.open_p99_ms is not None]
    quick_open = [row for row in opened if (row.open_p99_ms or 0) <= _P99_OPEN_MS]
    timed = [row for row in made if row.p99_ms is not None]
    kept, lost, late = (sum(getattr(row, name) for row in made) for name in ("acknowledged", "lost", "out_of_order"))
    return [
        f"Together {kept:,} acknowledged events, {lost:,} lost, {late:,} out of order.",
        f"The p99 of the answers was within {_P99_MS} ms in {len(quick)} of {len(timed)} faults, and within",
        f"{_P99_OPEN_MS} ms once the queue was known to be gone in {len(quick_open)} of {len(opened)}.",
        "",
    ]


def _notes(rows: Sequence[Row]) -> list[str]:
    noted: Mapping[str, str] = {row.fault: row.note for row in rows if row.note}
    return [f"- **{fault}**: {note}" for fault, note in noted.items()] + ([""] if noted else [])
