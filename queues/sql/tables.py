"""The tables. Times are in milliseconds since the epoch."""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.dialects.mysql import LONGBLOB, VARBINARY, VARCHAR

#: Raised with every change of the tables; a program refuses a database that is newer than it knows.
VERSION = 1


def _name(chars: int) -> String:
    # MariaDB takes names for the same that differ in case, accents or trailing spaces only, unless told otherwise.
    exact = VARCHAR(chars, charset="utf8mb4", collation="utf8mb4_nopad_bin")
    return String(chars).with_variant(exact, "mariadb")


#: A topic's 200 characters, our suffix, and room.
_NAME = _name(255)

# PostgreSQL's text has no zero byte, and is in the encoding of its database: a key is any text. In MariaDB a text has a
# collation, of which a key must know nothing; a character is four bytes at most.
_KEY = String(255).with_variant(LargeBinary(), "postgresql").with_variant(VARBINARY(4 * 255), "mariadb")

# MariaDB's BLOB ends at 64 KiB, one byte before our longest note does.
_BYTES = LargeBinary().with_variant(LONGBLOB(), "mariadb")

# No foreign keys: SQLite would not check them, and PostgreSQL would look up each record's stream to no end.
metadata = MetaData()

# Whatever engine a MariaDB server makes tables with by itself: only this one has transactions.
_KIND: dict[str, Any] = {"mariadb_engine": "InnoDB", "mariadb_row_format": "DYNAMIC", "mariadb_charset": "utf8mb4"}

meta = Table(
    "forebay_meta",
    metadata,
    Column("name", _name(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
    **_KIND,
)

stream = Table(
    "forebay_stream",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("partitions", Integer, nullable=False),
    **_KIND,
)

# `next_offset` is not PostgreSQL's, which counts elsewhere (postgresql/statements.py says why), and leaves 0 here.
partition = Table(
    "forebay_partition",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("first_offset", BigInteger, nullable=False),
    **_KIND,
)

# The time stands before the bulky columns: looking for a time then needs no overflow page.
record = Table(
    "forebay_record",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("key", _KEY, nullable=False),
    Column("headers", _BYTES, nullable=False),
    Column("value", _BYTES, nullable=False),
    **_KIND,
)

claim = Table(
    "forebay_claim",
    metadata,
    Column("group", _NAME, primary_key=True),
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("owner", _NAME),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("note", _BYTES, nullable=False),
    **_KIND,
)

# The last fact of each key about the portals of a topic; `offset` is its place in their order. Without a value it was
# taken back, and stays for a while so that those who follow learn of it.
portal = Table(
    "forebay_portal",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("key", _name(255), primary_key=True),
    Column("offset", BigInteger, nullable=False),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("value", _BYTES),
    Index("forebay_portal_offset", "stream", "offset", unique=True),
    **_KIND,
)

member = Table(
    "forebay_member",
    metadata,
    Column("group", _NAME, primary_key=True),
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("member", _NAME, primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
    **_KIND,
)
