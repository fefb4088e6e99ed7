"""An ingest under load in front of a real queue, a fault, and what was found afterwards."""

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random

from forebay.console.traffic.report import percentiles_ms
from forebay.console.traffic.simulated import SEQUENCE_PATH
from forebay.ingest.spool.window import MOST
from forebay.schemas.event import PortalEvent
from tests.e2e.sending import Portals, unevenly
from tests.e2e.site import Site

from .bare import bare_writes, taken
from .checking import all_open, by_portal, count, examine
from .hosts import is_flowing, is_open, is_told, is_well, lines_of
from .reporting import RECOVERY_S, Report, Row
from .standing import name_of, standing_in

SEED = 20_261_201

#: A call waits that long before its portal goes on without an answer.
PATIENCE_S = 150.0

#: The command for what has a machine of its own in real life, as a broker has: one that starts would take the ingest's
#: cores for seconds.
ELSEWHERE = ("nice", "-n", "10")

#: What a drain may have sent and not deleted yet: its window, and as much that arrived meanwhile.
UNDECIDED = 2 * MOST

#: How a process of the ingest says that it goes by the queue no longer, that it does so again, and that it takes calls.
_OPENED, _CLOSED = "the queue takes nothing", "the queue takes events again"
_SERVES = "ASGI server listening"
_LOOK_S = 0.05

#: An ingest that was not well for as long as it is waited for must have had a reason in its last part, of so many
#: seconds.
_IN_THE_END_S = RECOVERY_S / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a load is: events a second, and how many before the fault, during it, and after it."""

    before: int
    meanwhile: int
    after: int
    #: How often something dies.
    deaths: int
    rate: float = 500.0
    portals: int = 5000
    connections: int = 128


#: Of the report, and of every run of the tests.
LONG = Size(before=2500, meanwhile=7500, after=2500, deaths=100)
SHORT = Size(before=500, meanwhile=1500, after=500, deaths=6)


@dataclass(kw_only=True)
class Stand:
    """What is under load. `during` runs the fault; `judged` says what became of the events."""

    sites: Sequence[Site]
    size: Size
    report: Report
    drawn: Callable[[int, Random], Iterator[int]] = unevenly
    in_turn: bool = False
    processes: int = 2
    portals: Portals = field(init=False)
    #: When the fault began and ended, in seconds since the epoch.
    began: float = 0.0
    ended: float = 0.0
    recovered_s: float | None = None
    #: Whether a spool flowed in the time that was last waited for the ingest to be well.
    _flowed: bool = False
    _bare: Path = field(init=False)
    #: What `judged` found in the queue: each portal's events, in their order.
    events: dict[str, list[PortalEvent]] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        """The first of them."""
        return self.sites[0]

    async def start(self) -> None:
        """Start every ingest; return when each of its processes has the queue."""
        for site in self.sites:
            site.start("ingest", "ingest", "--processes", str(self.processes))
        for site in self.sites:
            await asyncio.to_thread(site.wait, "the queue", partial(is_open, site, self.processes))

    @asynccontextmanager
    async def loaded(self) -> AsyncIterator[None]:
        """Send before, during and after the block, and return when everything stands in the queue."""
        size, urls = self.size, [site.url for site in self.sites]
        self.portals = Portals(
            urls,
            size.portals,
            rate=size.rate,
            connections=size.connections,
            seed=SEED,
            in_turn=self.in_turn,
            drawn=self.drawn,
        )
        with uncollected():
            async with asyncio.TaskGroup() as sending:
                sending.create_task(self.portals.run())
                await self.portals.answered(size.before)
                yield
                await self.portals.answered(size.after)
                await self._recovered()
                self.portals.stop()
        await asyncio.to_thread(self._wait_until_well)

    @asynccontextmanager
    async def fault(self) -> AsyncIterator[None]:
        """The block makes the fault and ends it: what it takes is what is measured."""
        with bare_writes(self.site.folder) as self._bare:
            self.began = time.time()
            yield
            self.ended = time.time()

    async def meanwhile(self) -> None:
        """Return when so many events were answered as a fault is to see."""
        await self.portals.answered(self.size.meanwhile)

    async def _recovered(self) -> None:
        """Return when the ingest is well under the load, or has had its time: brokers that the machine can't carry, or
        portals that send their next event sooner than the one before has left the spool."""
        if await self._is_well_within(RECOVERY_S - _IN_THE_END_S):
            return
        # Counted, and not looked up by their times: an ingest's clock may be one that has jumped.
        openings = self.openings()
        if not await self._is_well_within(_IN_THE_END_S):
            states = [site.parts() for site in self.sites]
            is_late = self.openings() > openings
            assert is_late or self._flowed, f"not well under the load, no queue is late, no spool flows: {states}"

    async def _is_well_within(self, seconds: float) -> bool:
        """Return as soon as the ingest is well, or after so long."""
        self._flowed = False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for site in self.sites:
                    while not await asyncio.to_thread(is_well, site):
                        self._flowed |= await asyncio.to_thread(is_flowing, site, _IN_THE_END_S)
                        await asyncio.sleep(_LOOK_S)
                self.recovered_s = time.time() - self.ended
        return self.recovered_s is not None

    def _wait_until_well(self) -> None:
        for site in self.sites:
            site.wait("the end of the drain", partial(is_well, site))
            site.wait("the marker of the last gap", partial(is_told, site))

    def under_way(self, times: int) -> int:
        """The most that may stand twice when partitions get another leader so many times: what is on its way just then.

        The client takes up a new epoch, by which the brokers no longer know what they have (librdkafka's issue 4953).
        """
        return times * (len(self.sites) * UNDECIDED + self.size.connections)

    async def judged(
        self, fault: str, *, bound: int = 0, note: str = "", aside: Mapping[str, str] | None = None, **more: object
    ) -> Row:
        """What was found, as a row of the report. `aside`: ids that quarantine must have → the ids of the events."""
        standing = await standing_in(self.site)
        self.events = standing.events
        named_aside = {(aside or {}).get(one, one) for one in standing.aside}
        assert set((aside or {}).values()) <= named_aside, f"{aside} is not in quarantine"
        denied = by_portal([(call.portal, call.sequence) for call in self.portals.calls if call.status == 503])
        order = {portal: [name_of(event) for event in events] for portal, events in self.events.items()}
        found = examine(self.portals.kept, order, denied=denied, told=standing.told, aside=named_aside)
        row = Row(
            fault=fault,
            events=len(self.portals.calls),
            acknowledged=count(self.portals.kept),
            lost=count(found.lost),
            out_of_order=count(found.out_of_order),
            doubled=count(found.doubled),
            doubled_bound=bound,
            refused=sum(call.status == 503 for call in self.portals.calls),
            unanswered=sum(call.status == 0 for call in self.portals.calls),
            recovered_s=self.recovered_s,
            note=note,
        )
        row = replace(row, **{**self._times(), **more})  # type: ignore[arg-type]  # fields of the row
        self.report.add(row)
        print(json.dumps(dict(self.portals.answers)), row)
        assert not found.denied, f"told as not kept, and kept: {found.denied}"
        assert found.good, found
        assert row.doubled <= bound, f"{row.doubled} stand twice, of at most {bound}: {found.doubled}"
        return row

    def received(self) -> Iterator[tuple[float, float]]:
        """When each event in the queue was received, as the ingest said, and when its call was sent."""
        sent = {(call.portal, str(call.sequence)): call.at for call in self.portals.calls}
        for event in chain.from_iterable(self.events.values()):
            yield event.received_at.timestamp(), sent[event.portal, event.fields[SEQUENCE_PATH]]

    def openings(self) -> int:
        """How often a process of the ingest has said that it goes by the queue from now on."""
        # Counted, not read: the load waits meanwhile, and there are a hundred looks at a long log.
        return sum(site.log("ingest").count(_OPENED) for site in self.sites)

    def servings(self) -> int:
        """How often a process of the ingest has said that it takes calls from now on: each does it once."""
        return sum(site.log("ingest").count(_SERVES) for site in self.sites)

    def _times(self) -> dict[str, float | None]:
        meanwhile = [call for call in self.portals.calls if self.began <= call.at < self.ended and call.status]
        figures = percentiles_ms([call.took_s for call in meanwhile])
        since, until = self._open() or (self.ended, self.ended)
        after = percentiles_ms([call.took_s for call in meanwhile if since <= call.at < until])
        bare = percentiles_ms(taken(self._bare, *(self._open() or (self.began, self.ended))))
        return {f"{name}_ms": figures.get(name) for name in ("p50", "p99", "max")} | {
            "open_p99_ms": after.get("p99"),
            "bare_p99_ms": bare.get("p99"),
        }

    def _open(self) -> tuple[float, float] | None:
        """From when the last process knew that the queue takes nothing, to when the first heard that it does."""
        written = chain.from_iterable(lines_of(site.earlier["ingest"] + site.log("ingest")) for site in self.sites)
        lines = sorted(one for one in written if self.began <= one[0] < self.ended)
        said = [(when, _OPENED in line) for when, line in lines if _OPENED in line or _CLOSED in line]
        return all_open(said, self.processes * len(self.sites), self.ended)


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is collected meanwhile: for as long as the load looked through its objects, answers would wait."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
