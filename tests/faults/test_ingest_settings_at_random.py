"""An ingest whose settings are drawn by chance, often the least that can be set, and faults that come together."""

import json
import os
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from .chance import Chance
from .failing import End, Failing
from .ingest_hands import ANY_PORTAL, IngestFaults
from .stand import LONG, Stand
from .under import Under, every_queue

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

#: So many events come while something is broken.
_MEANWHILE = 10_000

_MB = 1024 * 1024

_DRAWN: Mapping[str, Sequence[float | None]] = {
    # With less the queue is late for ever: what it says of itself then is no sign of anything.
    "ack_deadline_ms": (20, 200, 5000),
    "spool_max_bytes": (_MB, 2 * _MB, 1024 * _MB),
    # More than any portal sends: what waits for its turn would not have left the spool when it is looked at.
    "portal_rate": (None, 200, 5000),
    "keep_alive_s": (1, 75),
    "body_timeout_s": (1, 60),
    "max_body_bytes": (16 * 1024, _MB),
    "drain_s": (0, 0.01, 4),
    "partitions": (1, 2, 12),
}


@pytest.mark.parametrize("draw", range(3))
@pytest.mark.parametrize("under", every_queue("kafka"), indirect=True)
async def test_whatever_is_set_costs_an_ingest_nothing_that_was_acknowledged_and_no_order(
    under: Under, chance: Chance, stands: Callable[..., Stand], failing: Failing, draw: int
) -> None:
    for _ in range(draw + 1):
        settings = {name: chance.rng.choice(values) for name, values in _DRAWN.items()}
    processes = chance.rng.choice((1, 2, 3))
    print(settings, processes)
    stand = stands(under.url, replace(LONG, meanwhile=_MEANWHILE), processes=processes)
    stand.site.variables = failing.environ
    stand.site.settings |= ANY_PORTAL | {
        name: json.dumps(value) for name, value in settings.items() if value is not None
    }
    if under.system not in ("rabbitmq", "memcached"):
        stand.site.settings["seal_keys"] = json.dumps({"k1": b64encode(os.urandom(32)).decode()})
    await stand.start()
    ingest = IngestFaults(chance, stand, failing)
    # SQLite's queue is on the same disk.
    disk = [] if under.system == "sqlite" else [(ingest.fail_disk,)]

    async with stand.loaded(), stand.fault():
        async with chance.played(*under.hands, ingest.ends, *disk):
            await stand.meanwhile()
        failing.end(End.IN_WRITE, 0)

    await stand.judged(
        f"settings of an ingest, by chance ({under.system})", bound=ingest.doubled(under), note=chance.told
    )
    assert not any(answer.startswith("403") for answer in stand.portals.answers), stand.portals.answers
