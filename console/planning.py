"""What an order is to name: the records of each portal, shown before anything is ordered."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from forebay.processors.parking.orders import MAX_SPANS, Order, What, spans_of

from .orders.orders import Marks
from .terminal.output import Row, note, show, show_json

#: A person reads no more rows than about so many; the rest is counted.
_SHOWN = 20


@dataclass(slots=True, kw_only=True)
class Planned:
    """The records of a portal, by their offsets in a partition of a stream, for one group; in the order to go."""

    portal: str
    partition: int
    group: str
    stream: str
    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    #: Where each of them stands, or stood, in the topic.
    places: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, offset: int, place: int) -> None:
        """Take one more."""
        self.offsets.append(offset)
        self.places.append(place)

    def row(self) -> Row:
        """What plans show of it."""
        return {
            "portal": self.portal,
            "partition": self.partition,
            "group": self.group or None,
            "stream": self.stream,
            "records": len(self.offsets),
        }

    def orders(self, what: What, who: str, why: str, at_ms: int) -> Iterator[Order]:
        """The orders that name them, one behind the other. Nearly always one."""
        for rising in _rising(self.offsets):
            spans = tuple(spans_of(rising))
            for start in range(0, len(spans), MAX_SPANS):
                yield Order(
                    portal=self.portal,
                    what=what,
                    stream=self.stream,
                    group=self.group,
                    who=who,
                    why=why,
                    at_ms=at_ms,
                    spans=spans[start : start + MAX_SPANS],
                )

    def parts(self, most: int) -> "Iterator[Planned]":
        """The same, so many at a time."""
        for start in range(0, len(self.offsets), most):
            end = start + most
            yield replace(self, offsets=self.offsets[start:end], places=self.places[start:end])

    def without(self, marks: Marks) -> "Planned":
        """Those of them that were not named meanwhile."""
        left = replace(self, offsets=array("q"), places=array("q"))
        for offset, place in zip(self.offsets, self.places, strict=True):
            if not marks.has(self.partition, offset):
                left.add(offset, place)
        return left


Plan = Sequence[Planned]


def count_in(plan: Plan) -> int:
    """How many records it names."""
    return sum(len(planned.offsets) for planned in plan)


def _rising(offsets: Iterable[int]) -> Iterator["array[int]"]:
    """The offsets cut where the next one is smaller: an order's spans only grow."""
    rising = array("q")
    for offset in offsets:
        if rising and offset <= rising[-1]:
            yield rising
            rising = array("q")
        rising.append(offset)
    if rising:
        yield rising


def show_plan(plan: Plan, doing: str, rate: float | None, *, as_json: bool) -> None:
    """Print the portals of the plan, the fullest first, and how long it takes at that rate."""
    rows = [planned.row() for planned in sorted(plan, key=lambda planned: -len(planned.offsets))]
    if as_json:
        show_json(rows)
    elif rows:
        show(rows[:_SHOWN], as_json=False)
    if len(rows) > _SHOWN and not as_json:
        note(f"… and {len(rows) - _SHOWN:,} portals more")
    note(_in_words(plan, doing, rate) if rows else "nothing found")


def _in_words(plan: Plan, doing: str, rate: float | None) -> str:
    count, portals = count_in(plan), len({planned.portal for planned in plan})
    told = f"{doing}: {counted(count, 'record')} of {counted(portals, 'portal')}"
    if rate is None:
        return told
    return f"{told}; at {rate:g} a second about {_duration(count / rate)}"


def counted(number: int, what: str) -> str:
    """`1 portal`, `1,200 portals`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
