"""From a URL to a database that is none of ours until something is put there."""

from .address import path_of
from .database import Database
from .sqlite.database import SqliteDatabase


def open_database(url: str) -> Database:
    """The database, not connected yet. Raises `QueueError`, which quotes nothing secret of the URL."""
    # Their clients are there only when the extra was installed.
    if url.startswith("postgresql"):
        from .postgresql.database import PostgresqlDatabase

        return PostgresqlDatabase(url)
    if url.startswith("mariadb"):
        from .mariadb.database import MariadbDatabase

        return MariadbDatabase(url)
    return SqliteDatabase(path_of(url))
