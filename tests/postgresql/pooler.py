"""PgBouncer in front of a PostgreSQL, from the system's package."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from tests.databases.server import as_account, wait_until
from tests.missing import missing
from tests.ports import free_ports
from tests.processes import dying_with_us

from .server import enter

_ACCOUNT = ("postgres", "postgres")

#: One session for each database and user: who comes next has the same one, as on a busy day.
_SETTINGS = """
[databases]
* = host={host} port={at}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = {mode}
default_pool_size = {sessions}
"""


@contextmanager
def pooled(url: str, mode: str, sessions: int) -> Iterator[str]:
    """The same database through a pooler that hands out so many sessions, for as long as `mode` says."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        missing("there is no PgBouncer on this machine; install Debian's package pgbouncer")
    parts, [port] = urlsplit(url), free_ports(1)
    with tempfile.TemporaryDirectory(prefix="forebay-pgbouncer-") as made:
        folder = Path(made)
        users, settings, log = folder / "users", folder / "settings", folder / "log"
        users.write_text(f'"{parts.username}" "{unquote(parts.password or "")}"\n')
        settings.write_text(
            _SETTINGS.format(host=parts.hostname, at=parts.port, port=port, users=users, mode=mode, sessions=sessions)
        )
        if os.getuid() == 0:
            for path in (folder, users, settings):
                shutil.chown(path, *_ACCOUNT)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*dying_with_us(), program, str(settings)], stdout=output, stderr=output, **as_account(_ACCOUNT)
            )
        try:
            through = urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}"))
            wait_until("PgBouncer", lambda: enter(through))
            yield through
        finally:
            process.kill()
            process.wait()
