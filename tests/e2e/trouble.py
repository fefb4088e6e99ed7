"""Handlers whose calls fail or hang for portals in trouble, and settings by which such portals wait for short times."""

from typing import Any

#: Writes the book of tests/order.py. A portal's events fail while a file with its name is there, and take as long as a
#: file lasts that is named so with `.hangs` behind it.
HANDLERS = """
import asyncio
import os
import time

from forebay import Handlers

handlers = Handlers()
book = os.open(os.environ["BOOK"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
async def handle(event):
    line = f"{event.portal} {event.id}#{event.fields['data[FIELDS][ID]']} {os.getpid()}\\n".encode()
    os.write(book, b"began " + line)
    try:
        await asyncio.sleep(0.002)
        while os.path.exists(f"{event.portal}.hangs"):
            await asyncio.sleep(0.05)
        if os.path.exists(event.portal):
            raise ConnectionError("the portal's API is down")
    except BaseException:
        os.write(book, b"dropped " + line)
        raise
    os.write(book, b"ended " + line)
"""

#: The same for an event of each kind of handler: one on the loop, one in a thread, one in a process, one that is marked
#: as handled, one of several at once, and one with a budget. Only the first hangs: none of the others can be told to
#: stop, and where a lease ends meanwhile, another worker begins what still runs.
EVERY_KIND = (
    HANDLERS.replace('@handlers.on("*")', '@handlers.on("ONCRMDEALADD")')
    + """

def line_of(event):
    return f"{event.portal} {event.id}#{event.fields['data[FIELDS][ID]']} {os.getpid()}\\n".encode()


def go_through(event):
    line = line_of(event)
    os.write(book, b"began " + line)
    time.sleep(0.002)
    is_down = os.path.exists(event.portal)
    os.write(book, (b"dropped " if is_down else b"ended ") + line)
    if is_down:
        raise ConnectionError("the portal's API is down")


@handlers.on("ONCRMLEADADD")
def in_a_thread(event):
    go_through(event)


@handlers.on("ONCRMCONTACTADD", cpu=True)
def in_a_process(event):
    os.write(book, f"child - - {os.getpid()}\\n".encode())
    go_through(event)


@handlers.on("ONCRMCOMPANYADD", dedup="id")
async def once(event):
    go_through(event)


@handlers.on("ONTASKADD", batch=5, batch_wait_s=0.05)
async def together(events):
    for event in events:
        os.write(book, b"taken " + line_of(event))
    for event in events:
        await asyncio.sleep(0.001)
        go_through(event)


@handlers.on("ONTASKUPDATE", rate="20/s")
async def slowly(event):
    go_through(event)
"""
)

#: The events for which it has handlers.
KINDS = ("ONCRMDEALADD", "ONCRMLEADADD", "ONCRMCONTACTADD", "ONCRMCOMPANYADD", "ONTASKADD", "ONTASKUPDATE")

#: Waits that are short, and nothing is given up.
LADDER: dict[str, Any] = {
    "memory_tries": 2,
    "tries": 100_000,
    "retry_first_s": 0.05,
    "park_first_s": 0.3,
    "park_longest_s": 1.0,
    "commit_interval_s": 0.2,
    "max_lane_records": 20,
    "session_s": 5,
}
