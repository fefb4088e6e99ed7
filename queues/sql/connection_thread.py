"""A thread with a connection of its own to a database."""

from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ..threads import connection_thread
from .database import Database
from .schema import check_version


class ConnectionThread(connection_thread.ConnectionThread[Connection]):
    """It asks nothing for as long as the tables are those of a newer Forebay."""

    def __init__(self, database: Database, name: str) -> None:
        super().__init__(
            database,
            name,
            errors=(SQLAlchemyError, OSError, *database.errors),
            check=partial(check_version, database=database.name),
        )
