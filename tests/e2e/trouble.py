"""Handlers whose calls fail or hang for portals in trouble, and settings by which such portals wait for short times."""

from typing import Any

#: Writes the book of tests/order.py. A portal's events fail while a file with its name is there, and take as long as a
#: file lasts that is named so with `.hangs` behind it.
HANDLERS = """
import asyncio
import os

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
