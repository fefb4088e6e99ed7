"""Transactions that write, and whose turn it is: of a name alone, or beside others of it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from hashlib import blake2s
from typing import Any

import pymysql
from sqlalchemy import Connection

from ...threads.undone import Undone
from ..database import TABLES, Undecided
from . import statements
from .asking import execute, opened
from .remedies import DEADLOCK, LOCK_WAIT, NO_TABLE, code_of, remedy
from .server import refuse_read_only


class Turns:
    """Of one database. Who waits for a turn does so for so many seconds at most."""

    def __init__(self, name: str, lock_s: int) -> None:
        self._name, self._lock_s = name, lock_s

    @contextmanager
    def writing(self, connection: Connection, *, alone: str = "", beside: str = "") -> Iterator[None]:
        """As in the protocol."""
        client = opened(connection)
        # A turn of any other name is a row's lock, which ends with its transaction: who stands still is thrown out.
        with self._session_lock(client, alone) if alone == TABLES else nullcontext():
            try:
                _begin(client, alone, beside)
                yield
            except Exception as error:
                _undo(client)
                if code_of(error) in (DEADLOCK, LOCK_WAIT):
                    raise Undone(remedy(self._name, error)) from error
                raise
            except BaseException:
                _undo(client)
                raise
            self._commit(client)

    @contextmanager
    def _session_lock(self, client: Any, name: str) -> Iterator[None]:
        execute(client, statements.HURRY, (2 * self._lock_s,))
        [(entered,)] = execute(client, statements.ENTER, (_digest(name), self._lock_s))
        if not entered:
            execute(client, statements.REST)
            raise Undone(remedy(self._name, pymysql.OperationalError(LOCK_WAIT, "another session has its turn")))
        try:
            yield
        finally:
            # A session that is lost has none.
            with suppress(pymysql.Error):
                execute(client, statements.LEAVE, (_digest(name),))
                execute(client, statements.REST)

    def _commit(self, client: Any) -> None:
        try:
            execute(client, "COMMIT")
        except pymysql.Error as error:
            if code_of(error) == DEADLOCK:
                raise Undone(remedy(self._name, error)) from error
            # Whatever else it says, or does not say: what is there tells. This session is not to be gone on with.
            client._force_close()
            raise Undecided(remedy(self._name, error)) from error


def _begin(client: Any, alone: str, beside: str) -> None:
    execute(client, "BEGIN")
    name, statement = (alone, statements.TURN_ALONE) if alone else (beside, statements.TURN_BESIDE)
    try:
        if name and not (found := execute(client, statement, (_digest(name),))):
            # Made for all others too, and so in a transaction of its own.
            execute(client, "ROLLBACK")
            execute(client, statements.MAKE_TURN, (_digest(name),))
            execute(client, "BEGIN")
            found = execute(client, statement, (_digest(name),))
        if name:
            refuse_read_only(found[0][0])
    except pymysql.Error as error:
        if code_of(error) != NO_TABLE:
            raise


def _undo(client: Any) -> None:
    # A connection that is lost has nothing to undo, and says so again.
    with suppress(pymysql.Error):
        execute(client, "ROLLBACK")


def _digest(name: str) -> str:
    # As long as a name in `forebay_meta` may be.
    return blake2s(name.encode(), digest_size=16).hexdigest()
