"""A thread with a connection of its own to a database."""

from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ..threads.connection_thread import ConnectionThread, Lives
from .database import Database
from .schema import check_version


def connection_thread(database: Database, name: str, lives: Lives | None = None) -> ConnectionThread[Connection]:
    """It asks nothing for as long as the tables are those of a newer Forebay."""
    return ConnectionThread(
        database,
        name,
        errors=(SQLAlchemyError, OSError, *database.errors),
        check=partial(check_version, database=database.name),
        lives=lives,
    )
