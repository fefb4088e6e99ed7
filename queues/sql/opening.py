"""From a URL to a database that is none of ours until something is put there."""

from sqlalchemy.engine import make_url

from .database import Database
from .sqlite import SqliteDatabase


def open_database(url: str) -> Database:
    """The database, not connected yet. Raises `QueueError`, which quotes nothing secret of the URL."""
    if url.startswith("postgresql"):
        # Its client is there only when the extra was installed.
        from .postgresql.database import PostgresqlDatabase

        return PostgresqlDatabase(url)
    return SqliteDatabase(make_url(url))
