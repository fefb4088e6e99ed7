"""A world in which it is known of each event how often it was handled, and in which order."""

from forebay import PortalEvent
from forebay.console.orders.parking_view import ParkingView, ends_of
from forebay.processors.worker import Worker
from forebay.queues.contract import Commit
from tests.parking.books import number_of
from tests.parking.moody import TOPIC
from tests.parking.world import GROUP, World

PORTAL = "a.example"
#: Another portal of the same partition.
OTHER = next(f"{n}.example" for n in range(99) if World.partition(f"{n}.example") == World.partition(PORTAL))

#: So many come before: more than a worker takes at once.
OTHERS = 100


class Life(World):
    """A world that writes down all that is handled, also what comes again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.handled: list[tuple[str, int]] = []
        self.books.note = self._note  # type: ignore[method-assign]  # what comes again is no fault here

    def _note(self, event: PortalEvent) -> None:
        self.handled.append((event.portal, number_of(event)))

    def of(self, portal: str) -> list[int]:
        return [number for name, number in self.handled if name == portal]

    def move(self, offset: int) -> None:
        """As an administrator does, with the queue's own tools."""
        self.handled.clear()
        self.commits()[self.partition(PORTAL)] = Commit(offset=offset)

    def start_without_room(self, seconds: float = 0.0) -> Worker:
        """One more worker, which takes no more of the topic than the next event; so much time passes."""
        self.takes_s[OTHER] = 50.0
        worker = self.start(max_held_records=1, max_lane_records=1000)
        self.let(seconds)
        return worker

    def settled(self) -> int:
        """Up to where commands take the portal's events for parked."""
        return self.run(self._settled())

    async def _settled(self) -> int:
        inspector, number = self.queue.inspector(), self.partition(PORTAL)
        view = ParkingView(topic=TOPIC, group=GROUP, partition=number)
        await view.look(inspector, (await inspector.groups(TOPIC))[GROUP][number], await ends_of(inspector, TOPIC))
        return view.settled(PORTAL)
