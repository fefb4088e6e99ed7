"""Statements, asked of the client itself."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection


def opened(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def execute(client: Any, statement: str, values: Sequence[object] | None = None) -> Sequence[tuple[Any, ...]]:
    with client.cursor() as cursor:
        cursor.execute(statement, values)
        found: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return found


def run(connection: Connection, statement: str, values: Sequence[object] | None = None) -> Sequence[tuple[Any, ...]]:
    """Without SQLAlchemy's machinery, which costs more than the client's."""
    return execute(opened(connection), statement, values)
