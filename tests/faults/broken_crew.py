"""A crew that is broken by chance under load, and what became of its events."""

import asyncio
from collections.abc import Sequence

from tests.e2e.crew import Crew
from tests.e2e.site import Site
from tests.order import Verdict, judge

from .chance import Chance, Fault
from .hands import OperatorOrders, PortalTroubles, WorkerFaults

#: So many lines around one that is wrong are shown, of its portal and of ends.
_AROUND = 50


async def broken(
    made: Crew,
    chance: Chance,
    site: Site,
    workers: Sequence[str],
    hands: Sequence[Sequence[Fault]],
    *,
    rate: float,
    seconds: float,
) -> Verdict:
    """Start the workers, send so many events a second, and break what the hands break, the workers and portals too.

    Returns when all is whole again, every event is done and committed, and the workers have ended as they were asked.
    """
    made.start(*workers)
    hands = [*hands, *(WorkerFaults(chance, made, name).all for name in workers)]
    orders = OperatorOrders(chance, made)
    if made.can_park:
        hands += [PortalTroubles(chance, site, made.portals).all, orders.all]
    async with made.loaded(rate):
        for name in workers:
            await made.works(name, 1)
        async with chance.played(*hands):
            await asyncio.sleep(seconds)
    await orders.end()
    # One may have been started a moment ago, and does not know yet what SIGTERM is.
    await made.until("workers", lambda: all("events are taken" in site.log(name) for name in workers))
    for name in workers:
        await made.stop(name)
    assert await made.uncommitted() == {}
    for name in workers:
        assert "Traceback" not in site.earlier[name] + site.log(name), site.earlier[name] + site.log(name)
    verdict = _judged(made)
    if made.can_park:
        verdict.out_of_order = [portal for portal in verdict.out_of_order if portal not in orders.given_up]
    return verdict


def _judged(made: Crew) -> Verdict:
    lines = made.book.read().lines
    verdict = judge(made.sent, lines)
    for beside in verdict.at_once:
        around = lines[max(0, beside.number - _AROUND) : beside.number + _AROUND]
        print(*(line for line in around if line.portal in (beside.portal, "-")), sep="\n")
    return verdict
