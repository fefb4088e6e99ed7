"""What `forebay doctor` looks at where handlers with `dedup` remember."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from forebay.processors.dedup.opening import marks_url
from forebay.queues.errors import QueueError
from forebay.queues.findings import Finding
from forebay.queues.opening import check_client
from forebay.queues.sql.connection_thread import connection_thread
from forebay.queues.sql.opening import open_database
from forebay.queues.sql.sqlite.database import SqliteDatabase

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from forebay.console.settings import Settings
    from forebay.queues.sql.database import Database

_CHECK = "dedup"

#: A database that needs longer to answer is not there.
_ANSWER_S = 10.0


async def dedup_findings(settings: "Settings") -> AsyncIterator[Finding]:
    """Whether the database of the marks can be read; nothing where it is the queue's own, or a file yet to be made."""
    url = marks_url(settings)
    if url == settings.queue_url:
        return
    try:
        check_client(url, "dedup_url")
        database = open_database(url)
        if database.exists():
            thread = connection_thread(database, "forebay-doctor-dedup")
            async with asyncio.timeout(_ANSWER_S):
                yield await thread.run_and_close(partial(_looked_at, database))
    except (QueueError, TimeoutError) as error:
        yield _failed(str(error) or f"did not answer within {_ANSWER_S:g} s")


def _looked_at(database: "Database", connection: "Connection") -> Finding:
    if isinstance(database, SqliteDatabase):
        return replace(database.whole(connection), check=_CHECK)
    connection.exec_driver_sql("SELECT 1")
    return Finding(check=_CHECK, state="ok", detail=f"{database.name} answers")


def _failed(detail: str) -> Finding:
    return Finding(
        check=_CHECK,
        state="fail",
        # It is said of a database as if it were the queue's.
        detail=detail.replace("queue_url", "dedup_url"),
        remedy="events of handlers with dedup wait until it can be read: mend it, or set dedup_url to another one",
    )
