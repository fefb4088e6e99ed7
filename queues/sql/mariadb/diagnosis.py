"""What `doctor` looks at in a MariaDB server. One that says "kept" too early is refused before (server.py)."""

from collections.abc import Callable, Iterable

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from forebay.queues.findings import Finding, Needs

from ... import looks
from ..tables import metadata
from .asking import run
from .remedies import NO_TABLE, code_of
from .server import look

#: Older ones have no limit for a session that stands still in a transaction, and are not tested.
_OLDEST = (10, 5)

#: What our user has to be allowed, in statements that are checked by the server and change nothing.
_RIGHTS = {
    "SELECT": "SELECT 1 FROM {} LIMIT 0",
    "INSERT": "INSERT INTO {0} SELECT * FROM {0} WHERE 1 = 0",
    "UPDATE": "UPDATE {} SET {} = {} WHERE 1 = 0",
    "DELETE": "DELETE FROM {} WHERE 1 = 0",
}

_DENIED = (1142, 1143)

#: What one needs to see others' transactions.
_NEEDS_PROCESS = 1227

#: Settings by which a server does not wait for its disk. Not every version has each of them.
_UNSAFE = {
    "innodb_flush_method": ("nosync", "littlesync"),
    "debug_no_sync": ("ON",),
}

_VARIABLE = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES WHERE VARIABLE_NAME = %s"

_ENGINES = """
SELECT TABLE_NAME FROM information_schema.TABLES
WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN %s AND ENGINE <> 'InnoDB' ORDER BY TABLE_NAME
"""

_LONGEST = "SELECT COALESCE(MAX(TIMESTAMPDIFF(SECOND, trx_started, NOW())), 0) / 60 FROM information_schema.INNODB_TRX"

#: How many nodes a Galera cluster has, and how many transactions this one has undone for those of others. A server that
#: is none of a cluster has no nodes.
_NODES = """
SELECT SUM(IF(VARIABLE_NAME = 'wsrep_cluster_size', VARIABLE_VALUE, 0)),
    SUM(IF(VARIABLE_NAME <> 'wsrep_cluster_size', VARIABLE_VALUE, 0))
FROM information_schema.GLOBAL_STATUS
WHERE VARIABLE_NAME IN ('wsrep_cluster_size', 'wsrep_local_bf_aborts', 'wsrep_local_cert_failures')
"""

#: How many replicas read its binary log, and whether a COMMIT waits for one of them: as it is set, and as it is.
_REPLICAS = """
SELECT VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS
WHERE VARIABLE_NAME IN ('SLAVES_CONNECTED', 'RPL_SEMI_SYNC_MASTER_STATUS')
UNION SELECT VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES
WHERE VARIABLE_NAME = 'RPL_SEMI_SYNC_MASTER_ENABLED'
"""

_USED = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'THREADS_CONNECTED'"


def findings(connection: Connection, needs: Needs) -> Iterable[Finding]:
    """One thing after the other."""
    each: tuple[Callable[[Connection], Finding], ...] = (
        _version,
        _durability,
        _format,
        _cluster,
        _replicas,
        _rights,
        _connections,
    )
    found = [look(connection) for look in each]
    return [*found, _transactions(connection), _packets(connection, needs)]


def _one(connection: Connection, query: str) -> str:
    return str(connection.exec_driver_sql(query).scalar_one())


def _version(connection: Connection) -> Finding:
    words = _one(connection, "SELECT VERSION()").split("-")[0]
    return looks.version(f"MariaDB {words}", words, _OLDEST)


def _durability(connection: Connection) -> Finding:
    detail = "a commit is on the server's disk (innodb_flush_log_at_trx_commit = 1"
    detail += ", sync_binlog = 1)" if look(connection).binlog else ")"
    kept = Finding(check="queue durability", state="ok", detail=detail)
    return _unsynced(connection) or _of_other_engines(connection) or _halved(connection) or kept


def _unsynced(connection: Connection) -> Finding | None:
    for name, values in _UNSAFE.items():
        found = [value for (value,) in run(connection, _VARIABLE, (name,)) if value in values]
        if found:
            detail = f"{name} = {found[0]}: a power cut loses events that were answered, or the whole database"
            remedy = f"take {name} out of the server's settings, and restart it"
            return Finding(check="queue durability", state="fail", detail=detail, remedy=remedy)
    return None


def _of_other_engines(connection: Connection) -> Finding | None:
    others = ", ".join(name for (name,) in run(connection, _ENGINES, (list(metadata.tables),)))
    if not others:
        return None
    detail = f"not InnoDB's: {others}. Nothing undoes there what failed, and a crash loses events that were answered"
    remedy = f"ALTER TABLE … ENGINE = InnoDB, for each of {others}"
    return Finding(check="queue durability", state="fail", detail=detail, remedy=remedy)


def _halved(connection: Connection) -> Finding | None:
    if _one(connection, "SELECT @@innodb_doublewrite") not in ("0", "OFF"):
        return None
    detail = "innodb_doublewrite = OFF: a power cut may leave a page half written, and the table unreadable"
    remedy = "set innodb_doublewrite = ON at the server, unless its disk writes pages whole"
    return Finding(check="queue durability", state="warn", detail=detail, remedy=remedy)


def _format(connection: Connection) -> Finding:
    kind = _one(connection, "SELECT @@binlog_format")
    if look(connection).binlog and kind == "STATEMENT":
        remedy = "set binlog_format to MIXED or ROW at the server"
        detail = "binlog_format = STATEMENT can't express what we do, and nothing can be written"
        return Finding(check="queue binlog", state="fail", detail=detail, remedy=remedy)
    return Finding(check="queue binlog", state="ok", detail=kind if look(connection).binlog else "there is none")


def _cluster(connection: Connection) -> Finding:
    [(nodes, undone)] = run(connection, _NODES)
    if not nodes:
        return Finding(check="queue cluster", state="ok", detail="the server is no node of one")
    detail = f"a Galera cluster of {nodes:.0f} nodes"
    if not undone:
        return Finding(check="queue cluster", state="ok", detail=f"{detail}; nobody wrote the same by another node")
    detail += f"; this one has undone {undone:.0f} transactions, as others wrote the same by another node"
    remedy = "lead every ingest and worker to one and the same node, and to another when it is gone (docs/mariadb.md)"
    return Finding(check="queue cluster", state="warn", detail=detail, remedy=remedy)


def _replicas(connection: Connection) -> Finding:
    check, found = "queue replicas", dict(run(connection, _REPLICAS))
    connected = int(found.get("SLAVES_CONNECTED", 0))
    if found.get("RPL_SEMI_SYNC_MASTER_STATUS") == "ON":
        return Finding(check=check, state="ok", detail=f"{connected} are connected; a commit waits until one has it")
    if found.get("RPL_SEMI_SYNC_MASTER_ENABLED") == "ON":
        detail = "the server has given up waiting for a replica: one that takes over may lack events"
        remedy = "look at the replicas; with a longer rpl_semi_sync_master_timeout events wait in the spool meanwhile"
        return Finding(check=check, state="warn", detail=detail, remedy=remedy)
    if connected:
        detail = f"{connected} are connected, and not waited for: one that takes over may lack events"
        remedy = "rpl_semi_sync_master_enabled = 1, and rpl_semi_sync_slave_enabled = 1 at those that may take over"
        return Finding(check=check, state="warn", detail=detail, remedy=remedy)
    return Finding(check=check, state="ok", detail="there are none")


def _rights(connection: Connection) -> Finding:
    lacking = [(right, table) for table in metadata.tables for right in _RIGHTS if _denied(connection, right, table)]
    names = ", ".join(f"{right} on {table}" for right, table in lacking)
    return looks.rights(names, "; ".join(f"GRANT {right} ON {table} TO this user" for right, table in lacking))


def _denied(connection: Connection, right: str, table: str) -> bool:
    column = f"`{next(iter(metadata.tables[table].columns)).name}`"
    try:
        connection.exec_driver_sql(_RIGHTS[right].format(table, column, column))
    except DBAPIError as error:
        if code_of(error) not in (*_DENIED, NO_TABLE):
            raise
        return code_of(error) in _DENIED
    return False


def _connections(connection: Connection) -> Finding:
    left = int(_one(connection, "SELECT @@max_connections")) - int(_one(connection, _USED))
    return looks.connections(left)


def _transactions(connection: Connection) -> Finding:
    try:
        minutes = float(_one(connection, _LONGEST))
    except DBAPIError as error:
        if code_of(error) != _NEEDS_PROCESS:
            raise
        detail = "not looked at: the user has no right PROCESS, which it needs for nothing else"
        return Finding(check="queue transactions", state="ok", detail=detail)
    return looks.transactions(minutes, "end it (information_schema.INNODB_TRX, KILL), or back up from a replica")


def _packets(connection: Connection, needs: Needs) -> Finding:
    most = look(connection).record_bytes
    if most < needs.record_bytes:
        detail = f"max_allowed_packet lets records of {most} bytes through, and events may have {needs.record_bytes}"
        remedy = f"set max_allowed_packet to {3 * needs.record_bytes} or more at the server, or lower max_body_bytes"
        return Finding(check="queue packets", state="fail", detail=detail, remedy=remedy)
    return Finding(check="queue packets", state="ok", detail=f"records of {most} bytes fit")
