"""What a server keeps: it is looked at before anything is entrusted to it."""

from dataclasses import dataclass

import pymysql
from sqlalchemy import Connection

from forebay.queues.errors import QueueError

from ...batches.records import MAX_RECORD_BYTES
from .asking import run
from .remedies import READ_ONLY
from .statements import SERVER

#: Of a packet, what a statement's own words take.
_WORDS_BYTES = 4 * 1024

#: Of a statement, what a record takes beside its headers and its value: numbers, and a key of 1,020 bytes.
_AROUND_BYTES = 12 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The settings that we depend on."""

    #: Whether there is a binary log. What is written to it is seen by others only when it is on the disk.
    binlog: bool
    syncs_binlog: bool
    syncs_commits: bool
    packet_bytes: int
    read_only: object

    @property
    def statement_bytes(self) -> int:
        """How long the rows of a statement may be."""
        return self.packet_bytes - _WORDS_BYTES

    @property
    def record_bytes(self) -> int:
        """The largest record, whose bytes go into a statement as two digits each."""
        return min(MAX_RECORD_BYTES, max(0, self.statement_bytes - _AROUND_BYTES) // 2)

    def check(self, name: str) -> None:
        """Refuse a server that says of a record that it is kept before it is: our promise would not be true."""
        if not self.syncs_commits:
            raise QueueError(_refusal(name, "innodb_flush_log_at_trx_commit"))
        if self.binlog and not self.syncs_binlog:
            # Without it a server that recovers undoes what its binary log has lost.
            raise QueueError(_refusal(name, "sync_binlog"))


def _refusal(name: str, variable: str) -> str:
    return (
        f"{name} has {variable} at another value than 1: a power cut would lose events that were answered. SET GLOBAL "
        f"{variable} = 1, and in the server's configuration too"
    )


def look(connection: Connection) -> Server:
    """Ask the server."""
    [(binlog, sync_binlog, flush, packet, read_only)] = run(connection, SERVER)
    return Server(
        binlog=bool(binlog),
        syncs_binlog=sync_binlog == 1,
        syncs_commits=flush == 1,
        packet_bytes=int(packet),
        read_only=read_only,
    )


def refuse_read_only(read_only: object) -> None:
    """Let go of a server that another has taken over from: it leaves sessions as they are, and lets some users write.

    What is read or written there is not what others read and write. `read_only` is the variable's value.
    """
    if read_only not in (0, "OFF"):
        raise pymysql.OperationalError(READ_ONLY, f"read_only = {read_only}")
