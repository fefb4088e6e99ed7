"""What `doctor` looks at in a PostgreSQL server."""

from collections.abc import Callable, Iterable

from sqlalchemy import Connection

from forebay.queues.findings import Finding

from ... import looks
from .remedies import POLICY

#: Older ones are not supported by their makers any more, and not tested.
_OLDEST = (13,)

_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'server_version_num')"

#: Tables that a crash empties.
_UNLOGGED = """
SELECT relname FROM pg_class
WHERE relkind = 'r' AND relpersistence = 'u' AND starts_with(relname::text, 'forebay_') AND pg_table_is_visible(oid)
ORDER BY relname
"""

# To prolong a lease and to commit are updates; retention deletes; a sequence counts the offsets.
_RIGHTS = """
SELECT c.relkind::text, c.relname FROM pg_class AS c
WHERE c.relkind IN ('r', 'S') AND starts_with(c.relname::text, 'forebay_') AND pg_table_is_visible(c.oid) AND NOT CASE
    WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'UPDATE')
    ELSE has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
        AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')
END ORDER BY c.relname
"""

#: Tables of which this user sees only what a policy lets through: for us, each look at them is an error.
_POLICED = """
SELECT relname FROM pg_class
WHERE relkind IN ('r', 'p') AND starts_with(relname::text, 'forebay_') AND pg_table_is_visible(oid)
    AND row_security_active(oid)
ORDER BY relname
"""

#: Every schema that has tables of ours, and whether they are those that this user finds.
_SCHEMAS = """
SELECT n.nspname, coalesce(c.oid = to_regclass('forebay_record'), false)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = 'forebay_record' AND c.relkind IN ('r', 'p') ORDER BY n.nspname
"""

#: The standbys that each commit waits for, where none is there, or where one of our sessions waits already.
_UNANSWERED = """
SELECT current_setting('synchronous_standby_names')
WHERE current_setting('synchronous_standby_names') <> '' AND current_setting('synchronous_commit') <> 'local' AND (
    NOT EXISTS (SELECT FROM pg_stat_replication)
    OR EXISTS (
        SELECT FROM pg_stat_activity
        WHERE wait_event = 'SyncRep' AND clock_timestamp() - state_change > interval '2 s'
    )
)
"""

_GRANTS = {"r": "GRANT SELECT, INSERT, UPDATE, DELETE ON {}", "S": "GRANT USAGE, UPDATE ON SEQUENCE {}"}

_LONGEST = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float / 60 FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

_LEFT = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int - count(*)
FROM pg_stat_activity WHERE backend_type = 'client backend'
"""


def findings(connection: Connection) -> Iterable[Finding]:
    """One thing after the other."""
    each: tuple[Callable[[Connection], Finding], ...] = (
        _version,
        _durability,
        _writes,
        _schema,
        _rights,
        _connections,
        _transactions,
    )
    return (look(connection) for look in each)


def sessions(*, shared: bool) -> Finding:
    """Whether a connection has its session to itself."""
    if shared:
        detail = "a pooler hands each transaction to whichever session is free: nothing can be written"
        remedy = "connect directly, or have it pool whole sessions (PgBouncer: pool_mode = session)"
        return Finding(check="queue sessions", state="fail", detail=detail, remedy=remedy)
    return Finding(check="queue sessions", state="ok", detail="each connection has one of its own")


def _settings(connection: Connection) -> dict[str, str]:
    return {name: setting for name, setting in connection.exec_driver_sql(_SETTINGS)}


def _version(connection: Connection) -> Finding:
    number = int(_settings(connection)["server_version_num"])
    words = f"{number // 10_000}.{number % 10_000}"
    return looks.version(f"PostgreSQL {words}", words, _OLDEST)


def _durability(connection: Connection) -> Finding:
    off = [name for name in ("fsync", "full_page_writes") if _settings(connection)[name] == "off"]
    if off:
        detail = f"{' and '.join(off)} = off: a power cut loses events that were answered, or the whole database"
        return Finding(check="queue durability", state="fail", detail=detail, remedy=f"set {off[0]} = on at the server")
    if unlogged := ", ".join(connection.exec_driver_sql(_UNLOGGED).scalars()):
        detail = f"unlogged: {unlogged}. A crash of the server empties what is"
        remedy = f"ALTER TABLE … SET LOGGED, for each of {unlogged}"
        return Finding(check="queue durability", state="fail", detail=detail, remedy=remedy)
    return Finding(check="queue durability", state="ok", detail="a commit is on the server's disk")


def _writes(connection: Connection) -> Finding:
    stopped = _read_only(connection) or _unanswered(connection)
    return stopped or Finding(check="queue writes", state="ok", detail="the server takes them")


def _read_only(connection: Connection) -> Finding | None:
    if connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "off":
        return None
    if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
        detail = "the server is a standby: nothing can be written"
        remedy = "name the primary in queue_url, or all hosts by commas"
    else:
        detail = "default_transaction_read_only = on: nothing can be written"
        remedy = "set it off for this user (ALTER ROLE … RESET), for the database and the server"
    return Finding(check="queue writes", state="fail", detail=detail, remedy=remedy)


def _unanswered(connection: Connection) -> Finding | None:
    names = connection.exec_driver_sql(_UNANSWERED).scalar()
    if names is None:
        return None
    detail = f"commits wait for a standby that does not answer (synchronous_standby_names = {names})"
    remedy = "start the standby, or take it out of synchronous_standby_names"
    return Finding(check="queue writes", state="fail", detail=detail, remedy=remedy)


def _schema(connection: Connection) -> Finding:
    schemas = connection.exec_driver_sql(_SCHEMAS).all()
    ours = next((f"in {name}" for name, found in schemas if found), "in no schema of its search_path")
    others = ", ".join(name for name, found in schemas if not found)
    if not others:
        return Finding(check="queue schema", state="ok", detail="no other one has tables of ours")
    detail = f"this user's tables are {ours}, and there are others in {others}: who finds those never meets us"
    remedy = "give all users the same search_path (ALTER ROLE … SET search_path = …), unless these are two Forebays"
    return Finding(check="queue schema", state="warn", detail=detail, remedy=remedy)


def _rights(connection: Connection) -> Finding:
    if policed := ", ".join(connection.exec_driver_sql(_POLICED).scalars()):
        detail = f"a policy keeps rows from this user: {policed}"
        return Finding(check="queue rights", state="fail", detail=detail, remedy=POLICY)
    lacking: dict[str, list[str]] = {}
    for kind, name in connection.exec_driver_sql(_RIGHTS):
        lacking.setdefault(kind, []).append(name)
    names = ", ".join(name for found in lacking.values() for name in found)
    grants = (f"{_GRANTS[kind].format(', '.join(found))} TO this user" for kind, found in lacking.items())
    return looks.rights(names, "; ".join(grants))


def _connections(connection: Connection) -> Finding:
    return looks.connections(int(connection.exec_driver_sql(_LEFT).scalar_one()))


def _transactions(connection: Connection) -> Finding:
    minutes = float(connection.exec_driver_sql(_LONGEST).scalar_one())
    return looks.transactions(minutes, "end it (pg_stat_activity, pg_terminate_backend), or back up from a standby")
