"""Whether more than one of the hosts in `queue_url` takes writes: one that was taken over from has come back."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

import psycopg

from forebay.queues.findings import Finding

from .address import Parameters, hosts_of

#: Who it is, whatever leads to it: two poolers may lead to one server.
_SERVER = "SELECT pg_postmaster_start_time()"

_PORT = 5432

#: Seconds for each host: those that are down are seen by others.
_CONNECT_S = "2"


def findings(parameters: Parameters) -> Iterable[Finding]:
    """Nothing where there is one host only, or where they go by their addresses."""
    hosts = hosts_of(parameters)
    if len(hosts) < 2 or "hostaddr" in parameters:
        return []
    primaries = dict(_primaries(parameters, hosts))
    if len(set(primaries.values())) < 2:
        return [Finding(check="queue primaries", state="ok", detail="one server at most takes writes")]
    detail = f"{' and '.join(primaries)} take writes, each for itself: what one gets never reaches who reads the other"
    remedy = (
        "stop the one that was taken over from, make a standby of it, and keep it from starting as a primary; events "
        "that it got since then stand in its forebay_record"
    )
    return [Finding(check="queue primaries", state="fail", detail=detail, remedy=remedy)]


def _primaries(parameters: Parameters, hosts: Iterable[Parameters]) -> Iterator[tuple[str, object]]:
    for one in hosts:
        alone = parameters | one | {"target_session_attrs": "read-write", "connect_timeout": _CONNECT_S}
        # One that is down, or a standby, is none.
        with suppress(psycopg.Error), psycopg.connect(autocommit=True, **alone) as connection:  # type: ignore[arg-type]  # libpq takes text for each
            yield f"{one['host']}:{one['port'] or _PORT}", connection.execute(_SERVER).fetchone()
