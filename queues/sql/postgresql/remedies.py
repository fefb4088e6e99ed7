"""What PostgreSQL refuses, and what to do about it."""

from psycopg import Error

#: Our own words, of a session that is not ours.
SHARED = "a transaction has begun in another session than the connection's own"

_POOLER = (
    "a pooler in between hands each transaction or statement to whichever session is free: connect directly, or have "
    "it pool whole sessions (PgBouncer: pool_mode = session)"
)

_FULL = (
    "a pooler in between may have none left (PgBouncer: raise default_pool_size): an ingest takes one connection, "
    "a worker four, each console command one or two"
)

_ENSURE = "`forebay topics ensure` makes them"

#: What lets a user see all rows.
POLICY = "ALTER TABLE … DISABLE ROW LEVEL SECURITY for each of them, or ALTER ROLE … BYPASSRLS"

#: SQLSTATE of a transaction that waited for another one, which waited for it.
DEADLOCK = "40P01"

#: SQLSTATE of a statement that was refused → what to do.
_BY_STATE = {
    "42P01": f"it has none of our tables yet, or they are in a schema that is not in search_path; {_ENSURE}",
    "42501": (
        "give the user the right: CREATE ON SCHEMA to make the tables (or make them as another user), and then SELECT, "
        "INSERT, UPDATE, DELETE on the tables and USAGE, UPDATE on the sequences forebay_*"
    ),
    "3F000": "the user has no schema to make tables in: set its search_path to that of our tables, or to a new one",
    "25006": "it is a standby, or set to read only: name the primary in queue_url, or all hosts by commas",
    DEADLOCK: "other programs lock the same rows in another order: look for them in the server's log",
    "53100": "its disk is full: make room; nothing that was answered is lost",
    "53200": "it is out of memory, or of locks for so many partitions: look at its log, at max_locks_per_transaction",
    "55P03": (
        "another session holds the lock for longer than usual: look for it in pg_stat_activity and pg_locks; where its "
        "wait_event is SyncRep, the standby that commits wait for is away"
    ),
    "57014": "it was cancelled, by a person or a program of the server's administrators",
    "57P01": "it is being stopped; we connect again by ourselves",
    "57P02": "it has crashed and recovers; we connect again by ourselves",
    "25P03": "this process stood still within a transaction, which was undone; it goes on by itself",
}

#: Words of a server, or of libpq, that does not let us in → what to do. There is no SQLSTATE then.
_BY_WORDS = {
    SHARED: _POOLER,
    "gives no session": _FULL,
    "query_wait_timeout": _FULL,
    "pooling mode": _POOLER,
    "prepared statement": _POOLER,
    "password authentication failed": "check user and password in queue_url, or PGPASSWORD and ~/.pgpass",
    "no password supplied": "put the password into queue_url, PGPASSWORD or ~/.pgpass",
    "no pg_hba.conf entry": "let user, database and address in by pg_hba.conf; it may want TLS (sslmode=require)",
    "does not support SSL": "set ssl = on at the server, or leave sslmode out of queue_url",
    "certificate verify failed": "check sslrootcert in queue_url against the server's certificate",
    "root certificate file": "name the file of the server's certificate authority: sslrootcert in queue_url",
    "server certificate for": "name the server in queue_url as its certificate does (sslmode=verify-full)",
    "certificate": "check sslcert, sslkey and sslrootcert in queue_url",
    "could not translate host name": "check the host in queue_url",
    "failed to resolve host": "check the host in queue_url",
    "too many clients": (
        "raise max_connections: an ingest process takes one connection, a worker four, each console command one or two"
    ),
    "too many connections": "raise the limit of connections of this user or database",
    "remaining connection slots": "raise max_connections, or run fewer processes",
    "starting up": "wait; we connect again by ourselves",
    "in recovery mode": "wait; it was killed and mends itself, and we connect again by ourselves",
    "not yet accepting connections": "wait; we connect again by ourselves",
    "shutting down": "we connect again by ourselves when it is back",
    "session is read-only": "none of the hosts takes writes: a standby has to take over (pg_promote), or wait for it",
    "Connection refused": "check that PostgreSQL runs, host and port in queue_url, and listen_addresses",
    "timeout expired": "check host and port in queue_url, and the firewalls in between",
    "server closed the connection": "we connect again by ourselves; its log says why",
    "connection is closed": "we connect again by ourselves; its log says why",
    "connection is lost": "we connect again by ourselves; its log says why",
    "synchronous replication": (
        "it is asked again; start the standby that synchronous_standby_names names, or take it out there"
    ),
    "wraparound": "VACUUM the database as its superuser, and end the old transaction that keeps autovacuum from it",
    "terminating connection": "we connect again by ourselves; its log says why",
}

_NO_DATABASE = "make it: CREATE DATABASE … OWNER …, as a superuser"
_NO_ROLE = "make the user: CREATE ROLE … LOGIN PASSWORD …, or check it in queue_url"
_OTHERWISE = "look at queue_url, and at the server's log"


def remedy(name: str, error: BaseException) -> str:
    """The server's words, which hold no password and nothing of a record, and what to do. `name` is the database's."""
    words = " ".join(_words(_cause(error)).split())
    return f"{name} says: {words}; {_advice(error, words)}"


def kept_back(name: str, records: int) -> str:
    """Of an INSERT that succeeded, and has written less than it was given."""
    return (
        f"{name} has left out {records} of the records that were written, and nothing is kept of their batch: a "
        "trigger or a rule of somebody stands on forebay_record, look at \\d+ forebay_record and drop it"
    )


def state_of(error: BaseException) -> str | None:
    """The server's SQLSTATE, also where SQLAlchemy wrapped its error."""
    cause = _cause(error)
    return cause.sqlstate if isinstance(cause, Error) else None


def _cause(error: BaseException) -> BaseException:
    return getattr(error, "orig", None) or error


def _words(error: BaseException) -> str:
    # The rest of what it says (its detail, its context) quotes rows and parameters.
    return (isinstance(error, Error) and error.diag.message_primary) or str(error)


def _advice(error: BaseException, words: str) -> str:
    # It has the state of any right that lacks.
    if "row-level security" in words:
        return POLICY
    return _BY_STATE.get(state_of(error) or "") or _by_words(words)


def _by_words(words: str) -> str:
    if told := next((found for said, found in _BY_WORDS.items() if said in words), None):
        return told
    if "does not exist" in words:
        return _NO_ROLE if "role" in words else _NO_DATABASE
    return _OTHERWISE
