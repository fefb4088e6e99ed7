"""A session of a PostgreSQL server: set as ours are, and known again when a transaction begins."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result
from psycopg.sql import SQL

from ...threads.sockets import has_come
from . import statements
from .address import Parameters
from .remedies import SHARED

#: Seconds for setting up a session. A pooler lets a client in at once, and has it wait until another has gone: whoever
#: waited with it would stand still without a word.
_SET_UP_S = 5.0


class SharedSession(psycopg.InterfaceError):
    """The transaction has begun in another session than ours: a pooler gives each to whichever is free.

    It is not set as ours is, so that its COMMIT may return before anything is on the disk.
    """


class Session(psycopg.Connection[Any]):
    """A connection in autocommit mode, and the mark of its session."""

    mark = ""


def open_session(parameters: Parameters, settings: Mapping[str, str], *, within_s: float = _SET_UP_S) -> Session:
    """A new one, which has these settings as far as the server knows them."""
    opened = Session.connect(autocommit=True, **parameters)  # type: ignore[arg-type]  # libpq takes text for each
    try:
        mark = uuid4().hex
        statement = SQL(statements.SESSION).format(mark, list(settings), list(settings.values()))
        _ask(opened, statement.as_bytes(opened), time.monotonic() + within_s)
        opened.mark = mark
    except BaseException:
        opened.close()
        raise
    return opened


def begin(opened: Session) -> None:
    """Begin a transaction. Raises `SharedSession`."""
    # Never prepared, nor is what ends it: in a session that is not ours, another statement may have its name.
    answers = opened.execute(statements.BEGIN, prepare=False)
    answers.nextset()
    if answers.fetchone() != (opened.mark,):
        raise SharedSession(SHARED)


def _ask(opened: Session, statement: bytes, until: float) -> None:
    """As `execute`, which would wait for ever."""
    connection = opened.pgconn
    connection.send_query(statement)
    while connection.flush() or connection.is_busy():
        if not has_come(opened.fileno(), max(0.0, until - time.monotonic())):
            raise psycopg.OperationalError("it has let us in, and gives no session: timeout expired")
        connection.consume_input()
    while result := connection.get_result():
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
