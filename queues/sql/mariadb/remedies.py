"""What MariaDB refuses, and what to do about it."""

from pymysql import Error

from ...strictness import LACKING

#: Two transactions waited for each other, and ours was undone.
DEADLOCK = 1213

#: Another transaction held a lock for too long.
LOCK_WAIT = 1205

NO_TABLE = 1146

#: The server is set otherwise than the statement needs, mostly to read only.
READ_ONLY = 1290

_AGAIN = "we connect again by ourselves; its log says why"
_CONNECTIONS = (
    "raise max_connections: an ingest process takes one connection, a worker four, each console command one or two"
)
_RIGHT = (
    "give the user the right: CREATE to make the tables (or make them as another user), and then SELECT, INSERT, "
    "UPDATE, DELETE on the tables forebay_*"
)

#: Number of an error → what to do. From 2000 on it is the client that speaks.
_BY_CODE = {
    1021: "its disk is full: make room; nothing that was answered is lost",
    1040: _CONNECTIONS,
    1044: "let the user into the database: GRANT ALL ON … TO …, and check both names in queue_url",
    1045: "check user and password in queue_url, and from which hosts the user may come",
    1047: (
        "this node of a Galera cluster is cut off from the others, or has not joined yet: have the balancer lead to "
        "one whose wsrep_ready is ON"
    ),
    1049: "make it: CREATE DATABASE …",
    1053: _AGAIN,
    1114: "its disk or tablespace is full: make room; nothing that was answered is lost",
    1129: "it has shut this host out after too many broken connections: FLUSH HOSTS",
    1130: "let this host in: CREATE USER …@'host'",
    1142: _RIGHT,
    1143: _RIGHT,
    1146: "it has none of our tables yet; `forebay topics ensure` makes them",
    1153: "raise max_allowed_packet at the server",
    LOCK_WAIT: "another session holds the lock for longer than usual: look for it in SHOW ENGINE INNODB STATUS",
    DEADLOCK: (
        "other programs lock the same rows in another order: look at SHOW ENGINE INNODB STATUS; in a Galera cluster, "
        "have all of us write to one node"
    ),
    1193: "it is older than MariaDB 10.5, or a MySQL, which is another system: use a MariaDB of 10.5 or newer",
    1203: "raise max_user_connections, or run fewer processes",
    1226: "raise the limit of connections of this user",
    1227: _RIGHT,
    READ_ONLY: "it is set to read only: name the primary in queue_url; or another option is in the way, as it says",
    1317: "it was cancelled, by a person or by a limit of the server",
    1665: "set binlog_format to MIXED or ROW at the server: STATEMENT can't express what we do",
    1698: "this user comes in by another way than a password: make a user IDENTIFIED BY a password",
    1792: "it is set to read only: name the primary in queue_url",
    1836: "it is set to read only: name the primary in queue_url",
    1927: _AGAIN,
    1969: "it was cancelled by max_statement_time, which should be 0 for this user",
    2006: _AGAIN,
    2013: _AGAIN,
    2026: "set up TLS at the server, or leave ssl, ssl_ca and ssl_cert out of queue_url",
    2059: "this user's way of logging in is not known here: make a user IDENTIFIED BY a password",
    4031: "this process did nothing for too long, or stood still within a transaction; it goes on by itself",
}

#: Words of those who have no number of their own → what to do.
_BY_WORDS = {
    **LACKING,
    "certificate verify failed": "check ssl_ca in queue_url against the server's certificate, and the host's name",
    "Name or service not known": "check the host in queue_url",
    "name resolution": "check the host in queue_url",
    "refused": "check that MariaDB runs, host and port in queue_url, and bind-address",
    "timed out": "check host and port in queue_url, and the firewalls in between",
    "connection is closed": _AGAIN,
    "NO_ENGINE_SUBSTITUTION": "set enforce_storage_engine to InnoDB at the server: our tables need transactions",
    "is not a MariaDB": "it is another system: use a MariaDB",
    "No such file": "check the files that ssl_ca, ssl_cert, ssl_key, password_file and unix_socket name in queue_url",
}

_OTHERWISE = "look at queue_url, and at the server's log"


def code_of(error: BaseException) -> int | None:
    """The number of the server's or the client's error, also where SQLAlchemy wrapped it."""
    cause = getattr(error, "orig", None) or error
    return cause.args[0] if isinstance(cause, Error) and cause.args and isinstance(cause.args[0], int) else None


def remedy(name: str, error: BaseException) -> str:
    """The server's words, which never hold a password, and what to do. `name` is the database's."""
    cause = getattr(error, "orig", None) or error
    code = code_of(error)
    said = cause.args[1] if code is not None and len(cause.args) > 1 else cause
    words = " ".join(str(said).split()) or "the connection is closed"
    return f"{name} says: {words}; {_by_words(words) or _BY_CODE.get(code or 0, _OTHERWISE)}"


def _by_words(words: str) -> str | None:
    return next((found for said, found in _BY_WORDS.items() if said in words), None)
