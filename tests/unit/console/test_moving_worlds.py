"""Whatever state portals and workers are in, a move loses nothing, keeps every order, and repeats nothing."""

from dataclasses import dataclass

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from forebay.console.moving.errors import NotNow
from forebay.console.moving.move import Move
from forebay.console.settings import Settings
from forebay.processors.parking.orders import What
from forebay.queues.errors import QueueUnavailable
from forebay.schemas import names
from tests.moving.sides import BreakingQueue, a_move, carried
from tests.parking.moody import TOPIC
from tests.parking.world import GROUP, PARTITIONS, World

#: Of each kind of handler one, and two whose events only have their order.
PORTALS = ("a.example", "b.example", "batch.example", "fold.example", "slow.example", "all.example")
some = st.sets(st.sampled_from(PORTALS))


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """What happens on a queue until it is left for another."""

    sent: dict[str, int]
    failing: set[str]
    slow: set[str]
    held: set[str]
    workers: int
    lasts_s: float
    #: Events that come at the end, when little time is left for them.
    late: dict[str, int]
    #: Whether its workers are killed, and what of theirs still arrives then.
    is_killed: bool
    zombies: int
    #: Whether one more takes over then, and how long it has for it.
    heir_s: float | None
    #: After so many records each the target fails, and the move is run again.
    breaks: list[int]


counts = st.dictionaries(st.sampled_from(PORTALS), st.integers(1, 25))
chapters = st.builds(
    Chapter,
    sent=counts,
    failing=some,
    slow=some,
    held=st.sets(st.sampled_from(PORTALS), max_size=2),
    workers=st.integers(0, 2),
    lasts_s=st.sampled_from((0.05, 1.1, 6.0, 40.0)),
    late=counts,
    is_killed=st.booleans(),
    zombies=st.integers(0, 20),
    heir_s=st.sampled_from((None, 0.0, 0.05, 1.1)),
    breaks=st.lists(st.integers(0, 30), max_size=3),
)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(told=st.lists(chapters, min_size=1, max_size=3))
def test_events_are_handled_once_and_in_order_over_any_number_of_queues(told: list[Chapter]) -> None:
    world = World()
    try:
        for chapter in told:
            _live(world, chapter)
            _move(world, chapter)
        world.heal()
        world.judge()
    finally:
        world.close()


def _live(world: World, chapter: Chapter) -> None:
    world.failing |= chapter.failing
    for portal in chapter.slow:
        world.takes_s[portal] = 2.0
    for _ in range(chapter.workers):
        world.start()
    for portal, count in chapter.sent.items():
        world.send(portal, count)
    world.let(chapter.lasts_s)
    if world.workers:
        _hold(world, chapter)
    for portal, count in chapter.late.items():
        world.send(portal, count)
    world.let(0.05)
    for worker in list(world.workers):
        if chapter.is_killed:
            world.kill(worker, chapter.zombies)
        else:
            world.stop(worker)
    if chapter.heir_s is not None:
        heir = world.start()
        world.let(chapter.heir_s)
        world.stop(heir)


def _hold(world: World, chapter: Chapter) -> None:
    for portal in chapter.held:
        world.order(What.HOLD, portal)
        world.takes_s[portal] = 0.0
    world.let(5.0)
    world.held |= chapter.held


def _move(world: World, chapter: Chapter) -> None:
    given, target = Settings(topic=TOPIC, group=GROUP, partitions=PARTITIONS), BreakingQueue()
    try:
        for takes in [*chapter.breaks, None]:
            target.takes = takes
            _try(world, a_move(world.queue, target, given), breaks=takes is not None)
    except NotNow as refused:
        # Somebody has to do what was ordered; it goes on with the old queue.
        assert "wait for a worker" in str(refused)
        event("refused")
        return
    # Where nothing waits, nothing is made.
    world.run(target.ensure(names.streams(TOPIC), PARTITIONS))
    assert world.run(carried(a_move(world.queue, target, given))) == 0
    world.queue = target


def _try(world: World, move: Move, *, breaks: bool) -> None:
    plan = world.run(move.plan())
    event(f"moved: {', '.join(plan.amounts) or 'nothing'}")
    try:
        world.run(carried(move))
    except QueueUnavailable:
        assert breaks
