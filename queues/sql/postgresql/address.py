"""From the setting `queue_url` to what libpq, PostgreSQL's own client, connects with."""

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from forebay.queues.errors import QueueError

from ...urls import is_misleading, shape

#: What the URL leaves open. A server whose machine is gone, or a network that swallows packets, is noticed after some
#: ten seconds in which nothing comes back, and not after the system's two hours.
_DEFAULTS = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "fallback_application_name": "forebay",
    "client_encoding": "UTF8",
}

#: The same where several hosts are named: the first that is there may be a standby, as one that was taken over from.
_OF_SEVERAL = {"target_session_attrs": "read-write"}

_SHAPE = shape("postgresql", 5432)

Parameters = dict[str, str]


def parameters(url: str) -> Parameters:
    """Whatever libpq takes in a URL, with our defaults. Raises `QueueError`, which quotes nothing of the URL."""
    if is_misleading(url):
        raise QueueError(_SHAPE)
    try:
        given = conninfo_to_dict(url)
    except ProgrammingError:
        # Its words may be a part of the password.
        raise QueueError(_SHAPE) from None
    named = {name: str(value) for name, value in given.items() if value is not None}
    if not named.get("dbname"):
        raise QueueError(f"{_SHAPE}: it names no database")
    return _DEFAULTS | (_OF_SEVERAL if len(hosts_of(named)) > 1 else {}) | named


def name_of(found: Parameters) -> str:
    """The database as a person calls it, without user and password."""
    where = ",".join(f"{one['host']}:{one['port']}" if one["port"] else one["host"] for one in hosts_of(found))
    return f"postgresql://{where}/{found['dbname']}"


def hosts_of(found: Parameters) -> list[Parameters]:
    """What the parameters say of each host, in their order: those that go by hosts, and are lists otherwise."""
    hosts = found.get("host", "localhost").split(",")
    ports = found.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return [{"host": host, "port": port} for host, port in zip(hosts, ports, strict=False)]
