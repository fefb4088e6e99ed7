"""Handlers of the worker's benchmark, copied into a site: `forebay process timed_handlers:NAME`.

The site's file `records` says how many records there are. With the first and the last of them a line is written into
`marks.log`: the clock, the CPU seconds of the whole process, and the most memory that it ever had, in KiB.
"""

import asyncio
import os
import time
from itertools import count
from pathlib import Path

from forebay import Handlers, PortalEvent

trivial, reads_data, waits, waits_long, out_at_first, booked = (Handlers() for _ in range(6))

#: How long another system takes to answer, and one that is slow.
WORK_S, LONG_WORK_S = 0.005, 0.05

#: How long that system is out.
OUT_S = 25

_ends = {0, int(Path("records").read_text()) - 1}
_numbers = count()
_began_at = time.monotonic()
_book = os.open("booked.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


def mark() -> None:
    """Write a line."""
    with Path("marks.log").open("a") as marks:
        marks.write(f"{time.monotonic()} {time.process_time()} {peak_kb()}\n")


def peak_kb() -> int:
    """The most memory that the process had. `ru_maxrss` would be at least that of whoever started it."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])


@trivial.on("*")
async def look_at_the_name(event: PortalEvent) -> None:
    """The least that a handler wants to know."""
    assert event.name and event.portal
    if next(_numbers) in _ends:
        mark()


@reads_data.on("*")
async def look_at_the_data(event: PortalEvent) -> None:
    """For this the whole record is decoded."""
    assert event.data
    if next(_numbers) in _ends:
        mark()


@waits.on("*")
async def wait(event: PortalEvent) -> None:
    """Another system is asked."""
    await asyncio.sleep(WORK_S)
    if next(_numbers) in _ends:
        mark()


@waits_long.on("*")
async def wait_long(event: PortalEvent) -> None:
    """One that is slow is asked."""
    await asyncio.sleep(LONG_WORK_S)
    if next(_numbers) in _ends:
        mark()


@out_at_first.on("*")
async def wait_for_one_that_is_out(event: PortalEvent) -> None:
    """A system is asked that answers nobody when the worker starts."""
    await asyncio.sleep(WORK_S)
    if time.monotonic() < _began_at + OUT_S:
        raise ConnectionError("the system is out")
    if next(_numbers) in _ends:
        mark()


@booked.on("*")
async def wait_and_book(event: PortalEvent) -> None:
    """The same; in `booked.log` stands when the event was received, begun and ended."""
    began = time.time()
    await asyncio.sleep(WORK_S)
    line = f"{event.portal} {event.received_at.timestamp()} {began} {time.time()}\n"
    os.write(_book, line.encode())
    if next(_numbers) in _ends:
        mark()
